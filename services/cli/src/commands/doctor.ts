import { checkTopology } from '@backhaul/broker';
import { queues } from '@backhaul/jobs';
import { loadConfig, port, secret, text, withDeadline } from '@backhaul/runtime';
import { z } from 'zod';
import { type Connections, rabbitConfig } from '../connections.ts';
import { checkFfmpeg } from '../doctor/ffmpeg.ts';
import { type Finding, advice, ok, problem } from '../doctor/finding.ts';
import { checkNode } from '../doctor/node.ts';
import { checkPostgres } from '../doctor/postgres.ts';
import { checkRedis } from '../doctor/redis.ts';
import { checkSmtp } from '../doctor/smtp.ts';
import { EXIT, type ExitCode, failureOf } from '../exit-codes.ts';
import { type Terminal, printable } from '../terminal.ts';

/** The longest that one server may take for all its checks. */
const CHECK_TIMEOUT_MS = 30_000;

const programs = z.object({ FFMPEG_PATH: text().default('ffmpeg'), FFPROBE_PATH: text().default('ffprobe') });
const smtp = z.object({
  SMTP_HOST: text(),
  SMTP_PORT: port().default(587),
  SMTP_USER: text().optional(),
  SMTP_PASSWORD: secret().optional(),
  SMTP_TLS: z.enum(['required', 'opportunistic', 'off'], { error: 'expected required, opportunistic or off' }).default('required'),
});

/** `backhaul doctor`: looks at everything the fleet needs, and says of each problem how to mend it. 1 when there is a problem; advice alone is 0. */
export async function doctor(connections: Connections, terminal: Terminal): Promise<ExitCode> {
  const { env } = connections;
  const checks: readonly (readonly [string, string, () => Finding[] | Promise<Finding[]>])[] = [
    ['node', '', () => checkNode(process.version)],
    ['postgres', 'start Postgres, or set DATABASE_URL', () => checkPostgres(connections.database())],
    ['redis', 'start Redis, or set REDIS_URL', async () => checkRedis(await connections.redis())],
    ['rabbitmq', 'start RabbitMQ, or set RABBITMQ_URL to its address, user and vhost', () => checkRabbitmq(connections)],
    ['s3', 'check AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_S3_BUCKET and the key, which must be allowed to put, get and delete', () => checkStore(connections)],
    [
      'ffmpeg',
      '',
      () => {
        const { FFMPEG_PATH: ffmpeg, FFPROBE_PATH: ffprobe } = loadConfig(programs, env);
        return checkFfmpeg({ ffmpeg, ffprobe });
      },
    ],
    [
      'smtp',
      '',
      () => {
        if (!env['SMTP_HOST'] && env['RESEND_API_KEY']) return [ok('smtp.configured', 'mails go through Resend alone')];
        if (!env['SMTP_HOST'])
          return [advice('smtp.configured', 'SMTP_HOST is not set: mails become dead letters', 'set SMTP_HOST and SMTP_FROM to send mail')];
        return checkSmtp(loadConfig(smtp, env));
      },
    ],
  ];
  const findings = (await Promise.all(checks.map(([name, mend, look]) => guarded(name, mend, look)))).flat();
  terminal.answer({ ok: findings.every(({ state }) => state !== 'problem'), findings }, () => report(findings));
  return findings.some(({ state }) => state === 'problem') ? EXIT.failed : EXIT.ok;
}

/** A check that cannot be made is a problem of its own, and no reason to leave the others out. */
async function guarded(name: string, mend: string, look: () => Finding[] | Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await withDeadline(`looking at ${name}`, CHECK_TIMEOUT_MS, Promise.resolve().then(look));
  } catch (error) {
    const { code, message } = failureOf(error);
    return [
      problem(
        code === 'invalid_config' ? `${name}.configuration` : `${name}.reachable`,
        message,
        code === 'invalid_config' ? 'set these variables (.env.example explains each), or run make up' : mend,
      ),
    ];
  }
}

async function checkRabbitmq(connections: Connections): Promise<Finding[]> {
  const config = loadConfig(rabbitConfig, connections.env);
  const connection = await connections.broker();
  const topology = {
    exchange: config.RABBITMQ_EXCHANGE,
    queuePrefix: config.RABBITMQ_QUEUE_PREFIX,
    queues: queues.map(({ name }) => name),
    deliveryLimit: config.RABBITMQ_DELIVERY_LIMIT,
  };
  const problems = await checkTopology(connection, topology);
  if (problems.length === 0)
    return [ok('rabbitmq.topology', `exchange ${topology.exchange}, ${topology.queues.length} quorum queues and their bindings, dead letter queue`)];
  const different = problems.some((each) => each.includes('declared in another way'));
  return [
    problem(
      'rabbitmq.topology',
      problems.join('; '),
      different
        ? 'drain and delete the queue, then start the bridge, which declares it; or set RABBITMQ_QUEUE_PREFIX for queues of its own'
        : 'start the bridge, which declares what is missing; its user needs configure, write and read on these names',
    ),
  ];
}

async function checkStore(connections: Connections): Promise<Finding[]> {
  const { durationMs, conditionalPut } = await connections.store().roundTrip();
  return [
    ok('s3.round_trip', `put, get, delete in ${durationMs} ms`),
    conditionalPut
      ? ok('s3.conditional_put', 'works')
      : advice(
          's3.conditional_put',
          'If-None-Match is ignored: two runs of a job may write the same object twice',
          'use a store that supports conditional writes',
        ),
  ];
}

const MARKS: Readonly<Record<Finding['state'], string>> = { ok: 'ok     ', advice: 'advice ', problem: 'PROBLEM' };

function report(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const indent = ' '.repeat(width + 11);
  const lines = findings.flatMap(({ name, state, detail, mend }) => [
    `${MARKS[state]}  ${name.padEnd(width)}  ${detail.split('\n').map(printable).join(`\n${indent}`)}`,
    ...(mend === undefined || mend === '' ? [] : [`${indent}mend: ${mend.split('\n').join(`\n${indent}      `)}`]),
  ]);
  const problems = findings.filter(({ state }) => state === 'problem').length;
  return [...lines, '', problems === 0 ? 'no problem found' : `${problems} ${problems === 1 ? 'problem' : 'problems'} found`].join('\n');
}

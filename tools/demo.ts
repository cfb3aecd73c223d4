/**
 * `make demo`: the whole flow on real media, once.
 *
 *   node tools/demo.ts [--timeout <seconds>] [files]
 *
 * Starts stack and fleet in `.backhaul/demo`, does what a chat backend does, shows what becomes of each event, and ends.
 * Outputs stay on disk until the next demo.
 *
 * Exit codes: 0 every event ended as expected, 1 not so, 2 wrong arguments, 130 Ctrl-C.
 */
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createChatTables, createDatabase, migrate } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { type Fleet, type Stack, repositoryRoot, startFleet, startStack } from '@backhaul/testing';
import { type ChatBackend, connectChatBackend } from './demo/chat-backend.ts';
import { type Followed, follow } from './demo/follow.ts';
import { isolate } from './demo/isolate.ts';
import { type MediaFile, UnusableFiles, ownFiles } from './demo/own-files.ts';
import { planEvents } from './demo/plan.ts';
import { rowOf, table } from './demo/report.ts';
import { makeSamples } from './demo/samples.ts';
import { createScreen } from './demo/screen.ts';

const DIR = join(repositoryRoot, '.backhaul', 'demo');
const DEFAULT_TIMEOUT_SECONDS = 120;

const say = (line = '') => process.stdout.write(`${line}\n`);
const began = performance.now();
const sinceStart = () => `${((performance.now() - began) / 1_000).toFixed(1)} s`;

const interrupted = new AbortController();
process.on('SIGINT', () => interrupt());
process.on('SIGTERM', () => interrupt());
function interrupt(): void {
  // A second Ctrl-C does not wait; the servers end with this process however it ends.
  if (interrupted.signal.aborted) process.exit(130);
  process.stdout.write('\nstopping ..\n');
  interrupted.abort(new Error('interrupted'));
}

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readArguments();
  if (options === undefined) return 2;
  let own: MediaFile[];
  try {
    own = await ownFiles(options.files, process.env['INIT_CWD'] ?? process.cwd());
  } catch (error) {
    if (!(error instanceof UnusableFiles)) throw error;
    process.stderr.write(`these files cannot be sent:\n${error.problems.map((problem) => `  ${problem}\n`).join('')}`);
    return 2;
  }

  const running: Running = {};
  try {
    return await run(own, options.timeoutMs, running);
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    process.stderr.write(`the demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  } finally {
    await running.backend?.close();
    await running.fleet?.stop();
    // It may still be starting, when making the media failed meanwhile.
    const stack = await running.stack?.catch(() => undefined);
    await stack?.stop();
  }
}

/** What has to be stopped at the end, as far as it came. */
interface Running {
  stack?: Promise<Stack>;
  fleet?: Fleet;
  backend?: ChatBackend;
}

async function run(own: readonly MediaFile[], timeoutMs: number, running: Running): Promise<number> {
  const { signal } = interrupted;
  say('starting RabbitMQ, Redis, Postgres and stand-ins for S3, FCM, SMTP and SMS; making the media ..');
  // Both at once: the servers wait for their disks while the media need the processor.
  running.stack = startStack({ dir: DIR, env: process.env });
  const [stack, samples] = await Promise.all([running.stack, makeSamples(join(DIR, 'samples'))]);
  signal.throwIfAborted();
  const env = await isolate(stack, process.env);
  await createSchema(env['DATABASE_URL'] ?? '');
  say(`servers are up after ${sinceStart()}; starting the fleet ..`);
  const fleet = await startFleet({
    env,
    logDir: join(DIR, 'logs'),
    // A first start would fire what every schedule missed, and that is not what this is about.
    overrides: { scheduler: { SCHEDULER_CATCH_UP_MS: '0' } },
  });
  running.fleet = fleet;
  signal.throwIfAborted();
  say(`the fleet is up after ${sinceStart()}:`);
  const links = fleet.processes.map(({ name, url }) => `  ${name.padEnd(20)} ${url}/health  ${url}/metrics`).join('\n');
  say(links);

  const backend = await connectChatBackend(env);
  running.backend = backend;
  const sample = (path: string, name: string, kind: MediaFile['kind'], contentType: string): MediaFile => ({ path, name, kind, contentType });
  const photo = sample(samples.photo, 'holiday.jpg', 'image', 'image/jpeg');
  const media =
    own.length > 0
      ? own
      : [photo, sample(samples.video, 'clip.mov', 'video', 'video/quicktime'), sample(samples.voiceNote, 'voice-note.ogg', 'audio', 'audio/ogg')];
  const events = planEvents(media, photo);
  for (const event of events) await event.prepare?.(backend);
  say(`\npublishing ${events.length} events to the exchange ${env['RABBITMQ_EXCHANGE']}:`);
  const followed: Followed[] = [];
  for (const event of events) {
    signal.throwIfAborted();
    const publishedAt = Date.now();
    await backend.publish(event);
    followed.push({ event, publishedAt, story: undefined, endedAt: undefined });
  }
  const screen = createScreen(followed, process.stdout);
  screen.update();
  await follow(followed, { opsUrl: fleet.get('ops-api').url, timeoutMs, signal, onChange: () => screen.update() });
  signal.throwIfAborted();

  const mails = await stack.fakes.effects({ service: 'smtp', kind: 'mail' });
  const rows = followed.map((each) => rowOf(each, { stackDir: stack.dir, bucket: env['AWS_S3_BUCKET'] ?? '', mails }));
  say(`\n${table(rows)}\n`);
  const problems = rows.flatMap(({ event, subject, problem }) => (problem === undefined ? [] : [`${event} (${subject}): ${problem}`]));
  for (const [index, { event }] of followed.entries()) {
    // What did not end well has said so already.
    const problem = rows[index]?.problem === undefined ? await event.verify?.(backend) : undefined;
    if (problem !== undefined) problems.push(`${event.routingKey} (${event.subject}): ${problem}`);
  }
  problems.push(...(await unhealthy(fleet)));
  say(`  originals:  ${near(join(DIR, 'samples'))}`);
  say(
    `  outputs:    ${near(join(stack.dir, 's3'))}, ${near(join(stack.dir, 'mail'))}; every call of the stand-ins: ${near(join(stack.dir, 'fakes', 'effects.ndjson'))}`,
  );
  say(`  logs:       ${near(join(DIR, 'logs'))}`);
  say(`\n  health and metrics, also /metrics/queues and /metrics/system:\n${links}\n`);
  say('  The servers end with this demo, the files stay. To keep stack and fleet running: make up');
  if (problems.length > 0) {
    say(`\nnot as expected, after ${sinceStart()}:`);
    for (const problem of problems) say(`  ${problem}`);
    return 1;
  }
  say(`\nall ${rows.length} events ended as expected, after ${sinceStart()}`);
  return 0;
}

function readArguments(): { files: string[]; timeoutMs: number } | undefined {
  try {
    const { values, positionals } = parseArgs({ options: { timeout: { type: 'string', default: String(DEFAULT_TIMEOUT_SECONDS) } }, allowPositionals: true });
    const seconds = Number(values.timeout);
    if (!(seconds >= 1 && seconds <= 86_400)) throw new Error(`--timeout: expected seconds from 1 to 86400, not ${values.timeout}`);
    return { files: positionals, timeoutMs: seconds * 1_000 };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\nusage: node tools/demo.ts [--timeout <seconds>] [files]\n`);
    return undefined;
  }
}

async function createSchema(url: string): Promise<void> {
  const database = createDatabase({ url, poolSize: 1, statementTimeoutMs: 30_000, applicationName: 'backhaul-demo', log: silentLogger });
  try {
    await migrate(database);
    await createChatTables(database);
  } finally {
    await database.close();
  }
}

async function unhealthy(fleet: Fleet): Promise<string[]> {
  const answers = await Promise.all(
    fleet.processes.map(async ({ name, url }) => {
      try {
        const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(5_000) });
        const { status } = (await answer.json()) as { status: string };
        return status === 'healthy' ? [] : [`${name} says that it is ${status}: ${url}/health`];
      } catch (error) {
        return [`${name} does not answer: ${error instanceof Error ? error.message : String(error)}`];
      }
    }),
  );
  return answers.flat();
}

function near(path: string): string {
  return relative(process.cwd(), path) || '.';
}

import { generateKeyPair, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { FakesClient } from './fakes/client.ts';
import { freePort } from './free-port.ts';
import { identify, isAlive, readPidFile, sweepPidFile, writePidFile } from './process-identity.ts';
import { repositoryRoot } from './repository-root.ts';
import { externalServer } from './server-process.ts';
import type { ServerControl } from './server-process.ts';
import { fakesServer } from './servers/fakes.ts';
import { postgresServer } from './servers/postgres.ts';
import { erlangPortMapper, rabbitmqServer } from './servers/rabbitmq.ts';
import type { RabbitmqControl } from './servers/rabbitmq.ts';
import { redisServer } from './servers/redis.ts';
import { shellEnvFile } from './stack-env.ts';

/** The servers of a stack. `fakes` are S3, FCM, SMTP, the SMS provider and Resend in one process. */
export type StackServer = 'redis' | 'rabbitmq' | 'postgres' | 'fakes';

export type StackOptions = {
  /** Folder for data, logs and pid files. Relative ones count from the repository root (default `.backhaul/stack`). */
  dir?: string;
  /** Start only these (default all). */
  only?: readonly StackServer[];
  /**
   * Variables to start from (default none; pass process.env to honour the caller's). A REDIS_URL,
   * RABBITMQ_URL or DATABASE_URL in it is used instead of starting that server.
   */
  env?: NodeJS.ProcessEnv;
  /** Keep the data of an earlier stack in this folder (default false: begin empty). */
  keepData?: boolean;
  /** Postgres with fsync (default false: survives a kill, not a power cut). */
  durable?: boolean;
  /** Called when every server answers; make topology and schema here. If it fails, the stack stops again. */
  onReady?: (stack: Stack) => Promise<void>;
  /** Told in one line about what a person should know, such as a folder elsewhere (default: standard error). */
  report?: (line: string) => void;
};

/** Running servers on private loopback ports, and the variables that point at them. */
export type Stack = {
  readonly dir: string;
  /** Every variable that the services read, for this stack. Values are final; names as in .env.example. */
  readonly env: Record<string, string>;
  /** Throw when the stack was started without that server. */
  readonly redis: ServerControl;
  readonly rabbitmq: RabbitmqControl;
  readonly postgres: ServerControl;
  readonly fakesServer: ServerControl;
  /** Effects and scripts of the fakes. */
  readonly fakes: FakesClient;
  /** All servers that were started. */
  readonly servers: readonly ServerControl[];
  /** Write `env` as a shell-sourceable file, readable for the owner only. */
  writeEnvFile(path: string): Promise<void>;
  /** Stop everything. Safe to call twice. */
  stop(options?: { removeData?: boolean }): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Start real Redis, RabbitMQ and Postgres and the wire-level fakes of S3, FCM, SMTP and SMS as child
 * processes. They end with this process, however it ends.
 *
 * @throws Error when a program is missing (with the command that installs it), when a server does not
 *   come up (with the end of its log), or when a live process already uses the folder
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const dir = resolve(repositoryRoot, options.dir ?? '.backhaul/stack');
  const report = options.report ?? ((line: string) => void process.stderr.write(`stack: ${line}\n`));
  const wanted = new Set(options.only ?? (['redis', 'rabbitmq', 'postgres', 'fakes'] as const));
  const given = options.env ?? {};
  await mkdir(dir, { recursive: true });
  const release = claim(dir);

  const servers: ServerControl[] = [];
  const settled: Record<string, string> = {};
  let redis: ServerControl | undefined;
  let rabbitmq: RabbitmqControl | undefined;
  let postgres: ServerControl | undefined;
  let fakes: (ServerControl & { caFile: string }) | undefined;

  const begin = async <S extends ServerControl>(server: S): Promise<S> => {
    if (!server.external) {
      servers.push(server);
      if (!options.keepData) await server.wipe();
      await server.start();
    }
    return server;
  };
  const startRedis = async (): Promise<void> => {
    const url = given['REDIS_URL'];
    redis = await begin(url ? externalServer('redis', url) : redisServer({ dir, port: await freePort() }));
    settled['REDIS_URL'] = redis.url;
  };
  const startRabbitmq = async (): Promise<void> => {
    const url = given['RABBITMQ_URL'];
    if (url) {
      const ctl = (): Promise<never> => Promise.reject(new Error('rabbitmqctl is not available for a given RABBITMQ_URL'));
      rabbitmq = Object.assign(externalServer('rabbitmq', url), { ctl });
    } else {
      const epmd = erlangPortMapper({ dir, port: await freePort() });
      await begin(epmd);
      rabbitmq = await begin(rabbitmqServer({ dir, port: await freePort(), distPort: await freePort(), epmdPort: epmd.port }));
    }
    settled['RABBITMQ_URL'] = rabbitmq.url;
  };
  const startPostgres = async (): Promise<void> => {
    const url = given['DATABASE_URL'];
    const { durable = false } = options;
    postgres = await begin(url ? externalServer('postgres', url) : await postgresServer({ dir, port: await freePort(), durable, report }));
    settled['DATABASE_URL'] = postgres.url;
  };
  const startFakes = async (): Promise<void> => {
    const ports = {
      control: await freePort(),
      s3: await freePort(),
      fcm: await freePort(),
      smtp: await freePort(),
      sms: await freePort(),
      resend: await freePort(),
    };
    const smtp = { user: 'backhaul', password: randomBytes(12).toString('hex') };
    const sms = { accountSid: `AC${randomBytes(16).toString('hex')}`, authToken: randomBytes(16).toString('hex') };
    const resend = { apiKey: `re_${randomBytes(16).toString('hex')}` };
    const key = firebaseKey();
    fakes = await begin(fakesServer({ dir, ports, accounts: { smtp, sms, resend } }));
    const bucket = 'backhaul-media';
    const created = await fetch(`http://127.0.0.1:${ports.s3}/${bucket}`, { method: 'PUT' });
    if (!created.ok && created.status !== 409) throw new Error(`the S3 fake refused to create ${bucket}: ${created.status}`);
    Object.assign(settled, {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'backhaul',
      AWS_SECRET_ACCESS_KEY: randomBytes(20).toString('hex'),
      AWS_S3_BUCKET: bucket,
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${ports.s3}`,
      FIREBASE_PROJECT_ID: 'backhaul-local',
      FIREBASE_CLIENT_EMAIL: 'backhaul@backhaul-local.iam.gserviceaccount.com',
      FIREBASE_PRIVATE_KEY: await key,
      FCM_BASE_URL: `https://127.0.0.1:${ports.fcm}`,
      FCM_CA_FILE: fakes.caFile,
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: String(ports.smtp),
      SMTP_USER: smtp.user,
      SMTP_PASSWORD: smtp.password,
      SMTP_FROM: 'Backhaul <no-reply@backhaul.example>',
      SMTP_TLS: 'off',
      RESEND_API_KEY: resend.apiKey,
      RESEND_BASE_URL: `http://127.0.0.1:${ports.resend}`,
      // Failover is asked for by name: a test that takes the relay away means just that.
      MAIL_PROVIDERS: 'smtp',
      SMS_API_KEY: sms.accountSid,
      SMS_API_SECRET: sms.authToken,
      SMS_FROM_NUMBER: '+15005550006',
      SMS_BASE_URL: `http://127.0.0.1:${ports.sms}`,
    });
  };

  let stopping: Promise<void> | undefined;
  const stop = (stopOptions: { removeData?: boolean } = {}): Promise<void> =>
    (stopping ??= (async () => {
      // The port mapper last: RabbitMQ says goodbye to it.
      const epmd = servers.filter((server) => server.name === 'epmd');
      await Promise.all(servers.filter((server) => server.name !== 'epmd').map((server) => server.stop()));
      await Promise.all(epmd.map((server) => server.stop()));
      if (stopOptions.removeData) {
        await Promise.all(servers.map((server) => server.wipe()));
        await rm(dir, { recursive: true, force: true });
      }
      release();
    })());

  const starts = { redis: startRedis, rabbitmq: startRabbitmq, postgres: startPostgres, fakes: startFakes };
  const results = await Promise.allSettled([...wanted].map((name) => starts[name]()));
  const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (failed.length > 0) {
    await stop();
    throw failed.length === 1 ? failed[0] : new AggregateError(failed, failed.map(String).join('\n'));
  }

  const started = <T>(server: T | undefined, name: StackServer): T => {
    if (server === undefined) throw new Error(`this stack was started without ${name}`);
    return server;
  };
  const stack: Stack = {
    dir,
    env: {
      NODE_ENV: 'development',
      HOST: '127.0.0.1',
      LOG_LEVEL: 'info',
      RABBITMQ_EXCHANGE: 'sup_exchange',
      RABBITMQ_QUEUE_PREFIX: 'backhaul',
      QUEUE_PREFIX: 'bull',
      SHUTDOWN_TOKEN: randomBytes(16).toString('hex'),
      OPS_TOKEN: randomBytes(16).toString('hex'),
      ...settled,
    },
    get redis() {
      return started(redis, 'redis');
    },
    get rabbitmq() {
      return started(rabbitmq, 'rabbitmq');
    },
    get postgres() {
      return started(postgres, 'postgres');
    },
    get fakesServer() {
      return started(fakes, 'fakes');
    },
    get fakes() {
      return new FakesClient(started(fakes, 'fakes').url);
    },
    servers,
    async writeEnvFile(path) {
      await mkdir(dirname(resolve(path)), { recursive: true });
      await writeFile(path, shellEnvFile(this.env), { mode: 0o600 });
    },
    stop,
    [Symbol.asyncDispose]: () => stop(),
  };
  try {
    await options.onReady?.(stack);
  } catch (error) {
    await stop();
    throw error;
  }
  return stack;
}

/** Take the folder for this process, or say who has it. */
function claim(dir: string): () => void {
  const file = join(dir, 'owner.pid');
  const owner = readPidFile(file);
  if (owner && isAlive(owner)) {
    throw new Error(`the stack in ${dir} is in use by process ${owner.pid}; stop that first, or choose another folder`);
  }
  writePidFile(file, process.pid);
  // What a crashed owner left, also servers that this stack does not start.
  for (const name of readdirSync(dir)) {
    if (name.endsWith('.pid') && name !== 'owner.pid') sweepPidFile(join(dir, name));
  }
  return () => {
    const present = readPidFile(file);
    if (present?.pid === identify(process.pid)?.pid) void rm(file, { force: true });
  };
}

/** A service account's private key: real, since the SDK signs with it, but known to nobody. */
async function firebaseKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return privateKey;
}

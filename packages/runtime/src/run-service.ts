import { z } from 'zod';
import { InvalidConfig, loadConfig } from './config.ts';
import { withDeadline } from './deadline.ts';
import { milliseconds, port, secret, text } from './env-types.ts';
import { armFailpoint } from './failpoint.ts';
import { type HealthServer, createHealthServer } from './health-server.ts';
import { type Logger, createLogger } from './logger.ts';
import { type Metrics, createMetrics } from './metrics.ts';

/** The variables that every service reads. Spread into the service's own schema. */
export const serviceEnv = {
  NODE_ENV: z.enum(['development', 'test', 'production'], { error: 'expected development, test or production' }).default('development'),
  /** The address the HTTP face listens on. Loopback unless said otherwise, so that a laptop does not open /shutdown to its network. */
  HOST: text().default('127.0.0.1'),
  /** The HTTP face's port; 0 takes a free one and logs it. */
  PORT: port().default(0),
  LOG_LEVEL: z.enum(['error', 'warn', 'info', 'debug'], { error: 'expected error, warn, info or debug' }).default('info'),
  /** Where error.log and combined.log go as well; console only if not set. */
  LOG_DIR: text().optional(),
  /** Bearer token of POST /shutdown; the route is off without it. */
  SHUTDOWN_TOKEN: secret().optional(),
  /** How long a stop may take before the process leaves anyway. Below the pod's terminationGracePeriodSeconds. */
  SHUTDOWN_TIMEOUT_MS: milliseconds().default(25_000),
  /** Dies at a named gap (tests only; refused in production). */
  FAILPOINT: text().optional(),
};

type ServiceConfig = z.output<z.ZodObject<typeof serviceEnv>>;

/** Something with a life: a connection, a worker, a timer. */
export interface Closeable {
  /** Ends it gracefully; called once. */
  close(): Promise<unknown>;
}

/** What a service's composition root is given. */
export interface ServiceContext<Config> {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly http: HealthServer;
  /** Aborts when the stop begins. */
  readonly signal: AbortSignal;
  /** Registers `resource.close()` for the stop (last registered, first closed) and returns the resource. */
  readonly onStop: <Resource extends Closeable>(resource: Resource) => Resource;
  /** Begins the stop from inside, with exit code 1: the process cannot do its work and should be restarted. */
  readonly fail: (reason: string, error?: unknown) => void;
}

/**
 * Runs a service from start to exit: configuration, logger, metrics, HTTP
 * face, the composition root, then a stop on SIGTERM, SIGINT, POST /shutdown
 * or `fail`.
 *
 * The stop closes what was registered in reverse order; a second signal
 * changes nothing. Exit codes: 0 stopped, 1 failed or the stop's deadline
 * passed, 78 configuration (EX_CONFIG of sysexits.h).
 */
export async function runService<Schema extends z.ZodType<ServiceConfig>>(
  name: string,
  options: { readonly env: Readonly<Record<string, string | undefined>>; readonly config: Schema },
  start: (context: ServiceContext<z.output<Schema>>) => Promise<void>,
): Promise<void> {
  const config = readConfig(name, options);
  const log = createLogger({
    service: name,
    level: config.LOG_LEVEL,
    dir: config.LOG_DIR,
    // Working on unseen, it would be found by nobody: whoever started it starts it again with a reader.
    onUnread: (error) => fail('the standard output is closed', error),
  });
  if (config.FAILPOINT !== undefined && config.NODE_ENV === 'production') {
    log.error('FAILPOINT is set in production: refused');
    await withDeadline('writing the log files', 1_000, log.close()).catch(() => undefined);
    return exit(78);
  }
  armFailpoint(config.FAILPOINT);
  const metrics = createMetrics(name);
  const stop = new AbortController();
  const resources: Closeable[] = [];
  let stopping: Promise<void> | undefined;
  let startDone: Promise<void> = Promise.resolve();

  const http = createHealthServer({
    service: name,
    log,
    metrics,
    shutdownToken: config.SHUTDOWN_TOKEN,
    onShutdown: (reason) => void beginStop(reason, 0),
  });

  function beginStop(reason: string, code: number): Promise<void> {
    stopping ??= (async () => {
      log.info('stopping', { reason });
      http.draining();
      stop.abort(new Error(`stopping: ${reason}`));
      const closeAll = async () => {
        // A signal during start-up: what start() is still opening would otherwise be missed by the loop below.
        await startDone.catch(() => undefined);
        for (let resource = resources.pop(); resource !== undefined; resource = resources.pop()) {
          try {
            await resource.close();
          } catch (error) {
            log.warn('closing failed', { error });
          }
        }
      };
      let exitCode = code;
      try {
        await withDeadline('the stop', config.SHUTDOWN_TIMEOUT_MS, closeAll());
        log.info('stopped', { reason });
      } catch (error) {
        log.error('stop deadline passed, leaving', { error });
        exitCode = 1;
      }
      await withDeadline('closing the HTTP face', 1_000, http.close()).catch(() => undefined);
      // The files are written behind: leaving at once would lose the lines that say why.
      await withDeadline('writing the log files', 1_000, log.close()).catch(() => undefined);
      exit(exitCode);
    })();
    return stopping;
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void beginStop(signal, 0));
  const fail = (reason: string, error?: unknown) => {
    log.error(reason, { error });
    void beginStop(reason, 1);
  };
  process.on('unhandledRejection', (error) => fail('unhandled rejection', error));
  process.on('uncaughtException', (error) => fail('uncaught exception', error));

  try {
    const address = await http.listen(config.HOST, config.PORT);
    log.info('listening', { host: address.address, port: address.port });
    startDone = start({
      config,
      log,
      metrics,
      http,
      signal: stop.signal,
      onStop(resource) {
        resources.push(resource);
        return resource;
      },
      fail,
    });
    await startDone;
    http.started();
    log.info('started');
  } catch (error) {
    if (!stop.signal.aborted) fail('start failed', error);
  }
}

function readConfig<Schema extends z.ZodType<ServiceConfig>>(
  name: string,
  options: { env: Readonly<Record<string, string | undefined>>; config: Schema },
): z.output<Schema> {
  try {
    return loadConfig(options.config, options.env);
  } catch (error) {
    if (!(error instanceof InvalidConfig)) throw error;
    // The logger's own settings may be what is wrong, so this one line goes out by hand.
    process.stderr.write(`${JSON.stringify({ level: 'error', service: name, message: error.message, code: error.code, problems: error.problems })}\n`);
    return exit(78);
  }
}

function exit(code: number): never {
  // eslint-disable-next-line no-process-exit -- the one place where a service leaves
  process.exit(code);
}

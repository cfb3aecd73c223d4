import { createHash, timingSafeEqual } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import { withDeadline } from './deadline.ts';
import { type Logger, describeError } from './logger.ts';
import type { Metrics } from './metrics.ts';

/** What one dependency says of itself. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly latencyMs: number;
  readonly error?: string;
}

/** A dependency check: resolves when the dependency can do its work, rejects with the reason when not. */
export type Check = () => Promise<unknown>;

/** The HTTP face of a process. */
export interface HealthServer {
  /** For a service's own routes; those every service has are already there. */
  readonly app: Express;
  /** Adds a dependency to `/health` and `/readyz`. `critical: false` reports it without failing readiness. */
  addCheck(name: string, check: Check, options?: { critical?: boolean }): void;
  /** Adds a reason to be restarted to `/livez`: a string says what is wedged, undefined that all is well. */
  addLiveness(probe: () => string | undefined): void;
  /** What `/metrics/queues` answers. */
  queues(source: () => Promise<unknown>): void;
  /** From now on `/readyz` says 503: the process is stopping. */
  draining(): void;
  /** `/readyz` says 503 until this was called. */
  started(): void;
  listen(host: string, port: number): Promise<AddressInfo>;
  close(): Promise<void>;
}

/** How the HTTP face is made. */
export interface HealthServerOptions {
  readonly service: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The bearer token of `POST /shutdown`; without one the route answers 403. */
  readonly shutdownToken?: string | undefined;
  readonly onShutdown: (reason: string) => void;
  /** How long one dependency may take to answer. */
  readonly checkTimeoutMs?: number;
}

/** Makes the server with `/health /livez /readyz /metrics /metrics/queues /metrics/system` and `POST /shutdown`; it does not listen yet. */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const checks = new Map<string, { check: Check; critical: boolean }>();
  const liveness: (() => string | undefined)[] = [];
  const checkTimeoutMs = options.checkTimeoutMs ?? 2_000;
  let queueSource: (() => Promise<unknown>) | undefined;
  let state: 'starting' | 'ready' | 'draining' = 'starting';
  let server: Server | undefined;

  async function runChecks(): Promise<(CheckResult & { critical: boolean })[]> {
    return Promise.all(
      [...checks].map(async ([name, { check, critical }]) => {
        const startedAt = performance.now();
        try {
          await withDeadline(name, checkTimeoutMs, Promise.resolve().then(check));
          return { name, critical, ok: true, latencyMs: Math.round(performance.now() - startedAt) };
        } catch (error) {
          return { name, critical, ok: false, latencyMs: Math.round(performance.now() - startedAt), error: describeError(error).message };
        }
      }),
    );
  }

  const app = express();
  app.disable('x-powered-by');
  app.get('/livez', (_request, response) => {
    const wedged = liveness.map((probe) => probe()).filter((reason) => reason !== undefined);
    response.status(wedged.length === 0 ? 200 : 503).json({ status: wedged.length === 0 ? 'alive' : 'wedged', reasons: wedged });
  });
  app.get('/readyz', async (_request, response) => {
    const results = await runChecks();
    const failing = results.filter((result) => result.critical && !result.ok);
    const ready = state === 'ready' && failing.length === 0;
    response.status(ready ? 200 : 503).json({ status: ready ? 'ready' : state === 'ready' ? 'unavailable' : state, failing });
  });
  app.get('/health', async (_request, response) => {
    const results = await runChecks();
    const healthy = results.every((result) => result.ok || !result.critical);
    response.status(healthy ? 200 : 503).json({
      status: healthy ? (results.every((result) => result.ok) ? 'healthy' : 'degraded') : 'unhealthy',
      service: options.service,
      state,
      uptimeSeconds: Math.round(process.uptime()),
      dependencies: Object.fromEntries(results.map(({ name, ...result }) => [name, result])),
    });
  });
  app.get('/metrics', async (_request, response) => {
    response.type(options.metrics.registry.contentType).send(await options.metrics.registry.metrics());
  });
  app.get('/metrics/queues', async (_request, response) => {
    if (queueSource === undefined) {
      response.json({ queues: [] });
      return;
    }
    response.json({ queues: await withDeadline('queue figures', checkTimeoutMs, queueSource()) });
  });
  app.get('/metrics/system', (_request, response) => {
    response.json(options.metrics.system());
  });
  app.post('/shutdown', (request, response) => {
    if (options.shutdownToken === undefined) {
      response.status(403).json({ error: 'shutdown_disabled', message: 'Set SHUTDOWN_TOKEN to allow POST /shutdown.' });
      return;
    }
    if (!bearerMatches(request.headers.authorization, options.shutdownToken)) {
      response.status(401).json({ error: 'unauthorized', message: 'Send the header Authorization: Bearer <SHUTDOWN_TOKEN>.' });
      return;
    }
    response.status(202).json({ status: 'stopping' });
    options.onShutdown('POST /shutdown');
  });

  // Mounted before listen() adds the last resort: routes of the service's own come later than that.
  const own = express();
  own.disable('x-powered-by');
  app.use(own);

  return {
    app: own,
    addCheck: (name, check, { critical = true } = {}) => void checks.set(name, { check, critical }),
    addLiveness: (probe) => void liveness.push(probe),
    queues(source) {
      queueSource = source;
    },
    draining() {
      state = 'draining';
    },
    started() {
      if (state === 'starting') state = 'ready';
    },
    async listen(host, port) {
      app.use((request: express.Request, response: express.Response) => {
        response.status(404).json({ error: 'not_found', message: `There is no ${request.method} ${request.path} here.` });
      });
      app.use((error: Error & { status?: number }, request: express.Request, response: express.Response, _next: express.NextFunction) => {
        // Without this Express would answer with a stack trace.
        const status = error.status !== undefined && error.status >= 400 && error.status < 500 ? error.status : 503;
        if (status === 503) options.log.warn('request failed', { method: request.method, path: request.path, error });
        if (!response.headersSent)
          response.status(status).json({
            error: status === 503 ? 'unavailable' : 'bad_request',
            message: status === 503 ? 'A dependency did not answer; try again.' : error.message,
          });
      });
      server = app.listen(port, host);
      await new Promise<void>((resolve, reject) => {
        server?.once('listening', resolve).once('error', reject);
      });
      return server.address() as AddressInfo;
    },
    async close() {
      if (server === undefined) return;
      const closing = server;
      server = undefined;
      const closed = new Promise<void>((resolve) => closing.close(() => resolve()));
      // A scraper's keep-alive connection would otherwise hold the process until it goes.
      closing.closeIdleConnections();
      setTimeout(() => closing.closeAllConnections(), 500).unref();
      await closed;
    },
  };
}

/** Compares a bearer token in constant time; hashing first, because timingSafeEqual throws on unequal lengths. */
export function bearerMatches(header: string | undefined, token: string): boolean {
  if (header === undefined || !header.startsWith('Bearer ')) return false;
  const digest = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(header.slice('Bearer '.length)), digest(token));
}

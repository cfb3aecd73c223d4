import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { type HealthServer, type HealthServerOptions, createHealthServer } from './health-server.ts';
import { silentLogger } from './logger.ts';
import { createMetrics } from './metrics.ts';

const servers: HealthServer[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function serve(over: Partial<HealthServerOptions> = {}, prepare: (server: HealthServer) => void = () => undefined) {
  const stops: string[] = [];
  const server = createHealthServer({
    service: 'test',
    log: silentLogger,
    metrics: createMetrics('test'),
    onShutdown: (reason) => void stops.push(reason),
    ...over,
  });
  servers.push(server);
  prepare(server);
  const { port }: AddressInfo = await server.listen('127.0.0.1', 0);
  const call = async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const text = await response.text();
    return { status: response.status, text, json: () => JSON.parse(text) as Record<string, unknown> };
  };
  return { server, call, stops };
}

const never = () => new Promise<never>(() => undefined);

test('Readiness comes with the start, and goes when the stop begins; liveness stays', async () => {
  const { server, call } = await serve();
  expect(await call('/readyz')).toMatchObject({ status: 503 });
  server.started();
  expect(await call('/readyz')).toMatchObject({ status: 200 });
  server.draining();
  const draining = await call('/readyz');
  expect(draining.status).toBe(503);
  expect(draining.json()).toMatchObject({ status: 'draining' });
  server.started();
  expect((await call('/readyz')).status).toBe(503);
  expect((await call('/livez')).status).toBe(200);
});

test('A critical dependency that fails fails readiness and health, by name; another one only degrades', async () => {
  const { server, call } = await serve({}, (http) => {
    http.addCheck('redis', () => Promise.resolve());
    http.addCheck('smtp', () => Promise.reject(new Error('greeting never came')), { critical: false });
  });
  server.started();
  expect((await call('/readyz')).status).toBe(200);
  expect((await call('/health')).json()).toMatchObject({
    status: 'degraded',
    service: 'test',
    dependencies: { redis: { ok: true }, smtp: { ok: false, error: 'greeting never came' } },
  });
  server.addCheck('postgres', () => {
    throw new Error('not connected');
  });
  const ready = await call('/readyz');
  expect(ready.status).toBe(503);
  expect(ready.json()).toMatchObject({ failing: [{ name: 'postgres', error: 'not connected' }] });
  expect(await call('/health')).toMatchObject({ status: 503 });
});

test('A check that hangs is given up at its deadline, and the others are told', async () => {
  const { server, call } = await serve({ checkTimeoutMs: 50 }, (http) => {
    http.addCheck('stuck', never);
    http.addCheck('fine', () => Promise.resolve());
  });
  server.started();
  const startedAt = performance.now();
  const health = await call('/health');
  expect(performance.now() - startedAt).toBeLessThan(1_000);
  expect(health.json()).toMatchObject({ dependencies: { stuck: { ok: false, error: 'stuck took longer than 50 ms' }, fine: { ok: true } } });
});

test('Liveness asks no dependency and says what is wedged', async () => {
  const wedged: string[] = [];
  const { call } = await serve({}, (http) => {
    http.addCheck('stuck', never);
    http.addLiveness(() => wedged[0]);
  });
  expect((await call('/livez')).status).toBe(200);
  wedged.push('jobs wait and none is taken');
  const answer = await call('/livez');
  expect(answer.status).toBe(503);
  expect(answer.json()).toEqual({ status: 'wedged', reasons: wedged });
});

test('Shutdown wants the token: 403 without one configured, 401 with a wrong one, 202 with the right one', async () => {
  const off = await serve();
  expect((await off.call('/shutdown', { method: 'POST', headers: { authorization: 'Bearer undefined' } })).status).toBe(403);
  const { call, stops } = await serve({ shutdownToken: 's3cret' });
  for (const headers of [
    {},
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { authorization: 'Bearer wrong' },
    { authorization: 'Bearer s3cretX' },
    { authorization: 'Basic s3cret' },
    { authorization: 's3cret' },
  ]) {
    expect((await call('/shutdown', { method: 'POST', headers })).status).toBe(401);
  }
  expect((await call('/shutdown', { headers: { authorization: 'Bearer s3cret' } })).status).toBe(404);
  expect(stops).toEqual([]);
  expect((await call('/shutdown', { method: 'POST', headers: { authorization: 'Bearer s3cret' } })).status).toBe(202);
  expect(stops).toEqual(['POST /shutdown']);
});

test('The metrics are in the format of Prometheus; the queues are what the service tells', async () => {
  const none = await serve();
  expect((await none.call('/metrics/queues')).json()).toEqual({ queues: [] });
  const { call } = await serve({}, (http) => http.queues(() => Promise.resolve([{ queue: 'media', waiting: 3 }])));
  expect((await call('/metrics')).text).toContain('process_cpu_user_seconds_total{service="test"}');
  expect((await call('/metrics/queues')).json()).toEqual({ queues: [{ queue: 'media', waiting: 3 }] });
  expect((await call('/metrics/system')).json()).toMatchObject({
    memory: { rssBytes: expect.any(Number) as number },
    host: { cores: expect.any(Number) as number },
  });
});

test('Queue figures that do not come are 503, without a stack trace', async () => {
  const failing = await serve({}, (http) => http.queues(() => Promise.reject(new Error('secret internals'))));
  const answer = await failing.call('/metrics/queues');
  expect(answer.status).toBe(503);
  expect(answer.text).not.toContain('secret internals');
  const hanging = await serve({ checkTimeoutMs: 50 }, (http) => http.queues(never));
  expect((await hanging.call('/metrics/queues')).status).toBe(503);
});

test('A service adds routes of its own; every other path is 404, in JSON', async () => {
  const { call } = await serve({}, (http) => {
    http.app.get('/own', (_request, response) => void response.json({ own: true }));
    http.app.get('/broken', () => {
      throw new Error('secret internals');
    });
  });
  expect((await call('/own')).json()).toEqual({ own: true });
  expect((await call('/nothing')).json()).toMatchObject({ error: 'not_found' });
  const broken = await call('/broken');
  expect(broken.status).toBe(503);
  expect(broken.text).not.toContain('secret internals');
  expect((await call('/%ff')).status).toBeGreaterThanOrEqual(400);
});

test('A port that is taken fails the start', async () => {
  const { server } = await serve();
  const { port } = await new Promise<{ port: number }>((resolve) => {
    const other = createHealthServer({ service: 'other', log: silentLogger, metrics: createMetrics('other'), onShutdown: () => undefined });
    servers.push(other);
    void other.listen('127.0.0.1', 0).then(resolve);
  });
  void server;
  const third = createHealthServer({ service: 'third', log: silentLogger, metrics: createMetrics('third'), onShutdown: () => undefined });
  await expect(third.listen('127.0.0.1', port)).rejects.toThrow(/EADDRINUSE/);
});

test('Closing does not wait for a keep-alive connection', async () => {
  const { server, call } = await serve();
  await call('/livez');
  const startedAt = performance.now();
  await server.close();
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

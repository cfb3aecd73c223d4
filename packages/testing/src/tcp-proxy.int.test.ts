import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from './eventually.ts';
import { startProxy } from './tcp-proxy.ts';

let echo: Server;
let target: number;
const upstream = new Set<Socket>();

beforeAll(async () => {
  echo = createServer((socket) => {
    upstream.add(socket);
    socket.on('error', () => {}).once('close', () => upstream.delete(socket));
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  target = (echo.address() as AddressInfo).port;
});

afterAll(() => void echo.close());

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function roundTrip(socket: Socket, text: string): Promise<number> {
  const start = performance.now();
  socket.write(text);
  let received = '';
  while (received.length < text.length) received += String(((await once(socket, 'data')) as [Buffer])[0]);
  expect(received).toBe(text);
  return performance.now() - start;
}

/** The code of the error that ends the connection, or the event's name. */
const ending = (socket: Socket): Promise<string> =>
  new Promise((resolve) => socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')).once('close', () => resolve('close')));

test('a healthy proxy passes everything and counts', async () => {
  await using proxy = await startProxy({ target: `redis://127.0.0.1:${target}/3` });
  expect(proxy.url).toBe(`redis://127.0.0.1:${proxy.port}/3`);
  const socket = await dial(proxy.port);
  await roundTrip(socket, 'x'.repeat(1_000_000));
  expect([proxy.connections, proxy.accepted]).toEqual([1, 1]);
  socket.end();
  await eventually(() => expect(proxy.connections).toBe(0));
});

test('a cut resets the connection, and a new one works', async () => {
  await using proxy = await startProxy({ target });
  const socket = await dial(proxy.port);
  await roundTrip(socket, 'a');
  const ended = ending(socket);
  proxy.cut();
  expect(await ended).toBe('ECONNRESET');
  await roundTrip(await dial(proxy.port), 'b');
});

test('a refusing proxy refuses until it listens again', async () => {
  await using proxy = await startProxy({ target });
  await proxy.refuse();
  await expect(dial(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await proxy.listen();
  await roundTrip(await dial(proxy.port), 'c');
});

test('latency delays both ways and keeps the order', async () => {
  await using proxy = await startProxy({ target });
  const socket = await dial(proxy.port);
  proxy.set({ latencyMs: 50, jitterMs: 20 });
  expect(await roundTrip(socket, 'd')).toBeGreaterThanOrEqual(100);
  const pieces = Array.from({ length: 20 }, (_, index) => String.fromCodePoint(97 + index));
  const arrived = roundTrip(socket, pieces[0] ?? '');
  await arrived;
  let received = '';
  socket.on('data', (data) => (received += String(data)));
  for (const piece of pieces) socket.write(piece);
  await eventually(() => expect(received).toBe(pieces.join('')));
});

test('the rate is limited', async () => {
  await using proxy = await startProxy({ target });
  const socket = await dial(proxy.port);
  proxy.set({ bytesPerSecond: 100_000 });
  expect(await roundTrip(socket, 'e'.repeat(20_000))).toBeGreaterThan(190);
});

test('a black hole and a half-open connection are silent, not closed', async () => {
  await using proxy = await startProxy({ target });
  const swallowed = await dial(proxy.port);
  proxy.set({ blackhole: true });
  let heard = 0;
  swallowed.on('data', () => heard++);
  swallowed.write('f');
  const half = await dial(proxy.port);
  proxy.set({});
  await roundTrip(half, 'g');
  half.on('data', () => heard++);
  proxy.halfOpen();
  await eventually(() => expect(upstream.size).toBe(0));
  half.write('h');
  await roundTrip(await dial(proxy.port), 'i');
  expect([heard, half.destroyed, swallowed.destroyed]).toEqual([0, false, false]);
});

test('a connection is cut after so many bytes', async () => {
  await using proxy = await startProxy({ target });
  proxy.set({ cutAfterBytes: 1_500 });
  const socket = await dial(proxy.port);
  let received = 0;
  socket.on('data', (data) => (received += data.length));
  const ended = ending(socket);
  socket.write('j'.repeat(1_000));
  expect(await ended).toBe('ECONNRESET');
  expect(received).toBeLessThanOrEqual(500);
});

import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { freePort } from './free-port.ts';

/** What a proxy does to the bytes; nothing when all are absent. */
export type NetworkFault = {
  /** Delay of every piece, each way; the order stays. */
  latencyMs?: number;
  /** Random extra, up to this, each way. */
  jitterMs?: number;
  /** Rate per connection and direction. */
  bytesPerSecond?: number;
  /** Accept and swallow: nothing comes through, nothing is closed. */
  blackhole?: true;
  /** Reset each connection after this many bytes, counted over both directions. */
  cutAfterBytes?: number;
};

/** A TCP proxy on loopback that can be told to misbehave. */
export type TcpProxy = {
  readonly port: number;
  /** The target's URL with this proxy's host and port, when the target was given as a URL. */
  readonly url: string;
  /** Open connections. */
  readonly connections: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Replace the present fault; for open connections too. `{}` is a healthy network. */
  set(fault: NetworkFault): void;
  /** Reset all open connections (RST to both sides). New ones are accepted. */
  cut(): void;
  /** Close the listener and reset everything: connecting is refused until `listen`. */
  refuse(): Promise<void>;
  listen(): Promise<void>;
  /** Drop the target's side of open connections without telling the client: they stay open and silent. */
  halfOpen(): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Link = { client: Socket; target: Socket; bytes: number; detached: boolean };

/** Above this, reading stops until the other side has taken the bytes. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;

/**
 * Put a proxy in front of a server.
 *
 * @param options.target a URL (redis://, amqp://, postgres://, http://) or a port on 127.0.0.1
 */
export async function startProxy({ target, port: wantedPort }: { target: string | number; port?: number }): Promise<TcpProxy> {
  const targetUrl = new URL(typeof target === 'number' ? `tcp://127.0.0.1:${target}` : target);
  const links = new Set<Link>();
  let fault: NetworkFault = {};
  let accepted = 0;
  const port = wantedPort ?? (await freePort());
  let server: Server | undefined;

  function accept(client: Socket): void {
    accepted++;
    const upstream = connect({ host: targetUrl.hostname, port: Number(targetUrl.port) });
    const link: Link = { client, target: upstream, bytes: 0, detached: false };
    links.add(link);
    for (const socket of [client, upstream]) socket.setNoDelay(true);
    pump(link, client, upstream);
    pump(link, upstream, client);
    client.on('error', () => {});
    upstream.on('error', () => {
      // The target refused or reset: the client must see the same.
      if (!link.detached) client.resetAndDestroy();
    });
    client.once('close', () => {
      links.delete(link);
      upstream.destroy();
    });
    upstream.once('close', () => {
      if (!link.detached && !client.destroyed) client.end();
    });
  }

  function pump(link: Link, from: Socket, to: Socket): void {
    // Pieces on the way, in order. One timer at a time: two would fire in either order when they end almost together.
    const way: { bytes: Buffer; due: number; last?: 'reset' | 'end' }[] = [];
    let queuedBytes = 0;
    let isMoving = false;

    function move(): void {
      const next = way[0];
      isMoving = next !== undefined;
      if (!next) return;
      const waitMs = next.due - performance.now();
      if (waitMs > 0) {
        setTimeout(move, waitMs);
        return;
      }
      way.shift();
      queuedBytes -= next.bytes.length;
      if (to.writable && next.bytes.length > 0) to.write(next.bytes);
      if (next.last === 'reset') reset(link);
      else if (next.last === 'end') to.end();
      else if (from.isPaused() && queuedBytes < MAX_QUEUED_BYTES && to.writableLength < MAX_QUEUED_BYTES) from.resume();
      move();
    }

    from.on('data', (data: Buffer) => {
      const { latencyMs = 0, jitterMs = 0, bytesPerSecond, blackhole, cutAfterBytes } = fault;
      if (blackhole || link.detached) return;
      link.bytes += data.length;
      const over = cutAfterBytes === undefined ? -1 : link.bytes - cutAfterBytes;
      const bytes = over > 0 ? data.subarray(0, Math.max(0, data.length - over)) : data;
      const travelMs = latencyMs + Math.random() * jitterMs;
      const wireMs = bytesPerSecond === undefined ? 0 : (bytes.length / bytesPerSecond) * 1000;
      // Behind the piece before it, however short its own way is.
      const due = Math.max(way.at(-1)?.due ?? 0, performance.now() + travelMs) + wireMs;
      way.push({ bytes, due, ...(over >= 0 ? { last: 'reset' } : {}) });
      queuedBytes += bytes.length;
      if (!isMoving) move();
      if (queuedBytes >= MAX_QUEUED_BYTES || to.writableLength >= MAX_QUEUED_BYTES) from.pause();
    });
    to.on('drain', () => from.resume());
    from.once('end', () => {
      if (fault.blackhole || link.detached) return;
      way.push({ bytes: Buffer.alloc(0), due: way.at(-1)?.due ?? 0, last: 'end' });
      if (!isMoving) move();
    });
  }

  function reset(link: Link): void {
    link.client.resetAndDestroy();
    link.target.resetAndDestroy();
  }

  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      if (server) return resolve();
      server = createServer({ allowHalfOpen: true }, accept);
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });

  const refuse = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    const closed = closing && new Promise((resolve) => closing.close(resolve));
    for (const link of links) reset(link);
    await closed;
  };

  await listen();
  const url = new URL(targetUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return {
    port,
    url: url.href,
    get connections() {
      return links.size;
    },
    get accepted() {
      return accepted;
    },
    set(next) {
      fault = next;
    },
    cut() {
      for (const link of links) reset(link);
    },
    refuse,
    listen,
    halfOpen() {
      for (const link of links) {
        link.detached = true;
        link.target.destroy();
      }
    },
    close: refuse,
    [Symbol.asyncDispose]: refuse,
  };
}

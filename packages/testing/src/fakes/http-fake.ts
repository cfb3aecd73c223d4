import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ControlledFake } from './control.ts';
import type { EffectLog } from './effect-log.ts';
import { RuleBook } from './rules.ts';
import type { Action, Facts, FakeService } from './rules.ts';

/** An answer as data, so that it can be sent, slowed down or lost in one place. */
export type Reply = { status: number; headers?: Record<string, string>; body?: string | Buffer | Readable };

/** A request as the fakes see it; `body` is already subject to the scripted faults. */
export type FakeRequest = RequestHead & { facts: Facts; body: Readable };

export type RequestHead = {
  method: string;
  /** Path exactly as sent; `url.pathname` has `..` resolved. */
  path: string;
  url: URL;
  headers: IncomingMessage['headers'];
};

export type HttpFakeOptions = {
  service: FakeService;
  log: EffectLog;
  tls?: { cert: string; key: string };
  /** What the request is about, from its line and headers alone, or with its body when `wholeBody` is set. */
  describe: (request: RequestHead, body: Buffer) => Facts;
  /** Read the body before `describe` (small JSON or forms). Not for S3: uploads are streamed. */
  wholeBody: boolean;
  /** The service's own error answer for a scripted status or code. */
  refuse: (action: Action, facts: Facts) => Reply;
  /** The normal work. Called only when no rule prevents it. */
  handle: (request: FakeRequest) => Promise<Reply>;
  /** What effects of this service are filed under. */
  keyOf: (facts: Facts) => string;
};

/** An HTTP(S) server that does its normal work unless a rule says otherwise. */
export function httpFake(options: HttpFakeOptions): ControlledFake & { server: Server } {
  const { service, log } = options;
  const rules = new RuleBook();
  const requests: Record<string, number> = {};
  const connections = new Map<number | undefined, Socket>();
  const resetConnection = (incoming: IncomingMessage): void => {
    connections.get(incoming.socket.remotePort)?.resetAndDestroy();
    incoming.socket.destroy();
  };

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = incoming.method ?? 'GET';
    const target = incoming.url ?? '/';
    // Joined by hand: as a relative reference, a target that begins with two slashes would name a host.
    const url = new URL(`http://fake${target}`);
    const head: RequestHead = { method, path: target.split('?', 1)[0] ?? '/', url, headers: incoming.headers };
    const whole = options.wholeBody ? Buffer.concat(await Readable.from(incoming).toArray()) : Buffer.alloc(0);
    const facts = options.describe(head, whole);
    const operation = facts['operation'] ?? method;
    requests[operation] = (requests[operation] ?? 0) + 1;
    const action = rules.take(facts) ?? {};

    if (action.delayMs !== undefined) await delay(action.delayMs);
    if (action.hang) return;
    if (action.reset) return resetConnection(incoming);
    let reply: Reply;
    if (action.status !== undefined || action.code !== undefined) {
      // The body must be taken off the wire, or the client sees a broken pipe instead of the answer.
      incoming.resume();
      reply = options.refuse(action, facts);
      log.append(service, 'refused', options.keyOf(facts), { ...facts, status: reply.status });
    } else {
      const source = options.wholeBody ? Readable.from([whole], { objectMode: false }) : incoming;
      const body = method === 'GET' ? source : throughFaults(source, action, incoming, resetConnection);
      reply = await options.handle({ ...head, facts, body });
    }
    if (action.loseReply) return resetConnection(incoming);
    await send(reply, method, action, incoming, response, resetConnection);
  }

  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    serve(incoming, response).catch((error: unknown) => {
      // The client went away, or a rule cut the connection: nobody is there to be answered.
      if (response.headersSent || response.destroyed) return response.destroy();
      process.stderr.write(`${service}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      response.writeHead(500).end(String(error));
      return undefined;
    });
  };
  const server = options.tls ? createHttpsServer(options.tls, listener) : createHttpServer(listener);
  // Scripted delays and hangs are ours to end, not Node's.
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  // Node's 5 s would close a connection that a client under load is about to use again.
  server.keepAliveTimeout = 120_000;
  // Of an HTTPS server these are the raw sockets, and only those can be reset.
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket;
    connections.set(remotePort, socket);
    socket.once('close', () => connections.delete(remotePort));
  });
  return { server, rules, traffic: () => ({ connections: connections.size, requests }) };
}

type Reset = (incoming: IncomingMessage) => void;

async function send(reply: Reply, method: string, action: Action, incoming: IncomingMessage, response: ServerResponse, reset: Reset): Promise<void> {
  const { status, headers = {}, body = '' } = reply;
  response.writeHead(status, { ...headers, ...action.headers });
  if (method === 'HEAD') {
    if (body instanceof Readable) body.destroy();
    response.end();
  } else if (body instanceof Readable) {
    await pipeline(throughFaults(body, method === 'GET' ? action : {}, incoming, reset), response);
  } else if (method === 'GET' && (action.resetAfterBytes !== undefined || action.bytesPerSecond !== undefined)) {
    await pipeline(throughFaults(Readable.from([Buffer.from(body)]), action, incoming, reset), response);
  } else {
    response.end(body);
  }
}

/** The same bytes, at the scripted rate and up to the scripted end. */
function throughFaults(source: Readable, action: Action, incoming: IncomingMessage, reset: Reset): Readable {
  const { resetAfterBytes, bytesPerSecond } = action;
  if (resetAfterBytes === undefined && bytesPerSecond === undefined) return source;
  let passed = 0;
  const fault = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      void (async () => {
        // Slices, so that a slow rate trickles instead of coming in one late piece.
        const step = bytesPerSecond === undefined ? chunk.length : Math.max(1, Math.ceil(bytesPerSecond / 20));
        for (let at = 0; at < chunk.length; at += step) {
          let slice = chunk.subarray(at, at + step);
          if (bytesPerSecond !== undefined) await delay((slice.length / bytesPerSecond) * 1000);
          const left = resetAfterBytes === undefined ? Infinity : resetAfterBytes - passed;
          slice = slice.subarray(0, Math.min(slice.length, left));
          passed += slice.length;
          this.push(slice);
          if (passed >= (resetAfterBytes ?? Infinity)) {
            // Let the bytes that are due reach the wire first.
            await delay(20);
            reset(incoming);
            return;
          }
        }
        done();
      })();
    },
  });
  source.once('error', (error) => fault.destroy(error));
  incoming.once('close', () => {
    if (!incoming.complete) fault.destroy(new Error('the connection was closed'));
  });
  return source.pipe(fault);
}

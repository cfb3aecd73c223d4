import { createHash } from 'node:crypto';
import { Agent as HttpAgent, type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { DeadlineExceeded } from '@backhaul/runtime';
import aws4 from 'aws4';
import { createRequestTarget, encodeStrictly } from './request-target.ts';
import { retried } from './retry.ts';
import { S3Refusal, StrangeAnswer, refusalOf } from './s3-refusal.ts';
import { type RequestBody, endAnswered, sendBody } from './send-body.ts';

/** One request to the bucket, or to an object in it. */
export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Of the object; the bucket itself without one. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** To the head of the answer, and to its end unless it is left to the caller; each try. */
  readonly timeoutMs: number;
}

/** How a bucket is reached. */
export interface S3ConnectionOptions {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
  readonly endpoint?: string | undefined;
  readonly connectTimeoutMs: number;
  /** Tries of one request, the first included. */
  readonly attempts: number;
}

/** Signed requests to one bucket. */
export interface S3Connection {
  /**
   * Sends the request until the store accepts it, and has `take` make of the answer what is wanted; it must
   * read the body, or give it to somebody who does. What `take` throws is a failure of the try.
   *
   * @throws {S3Refusal} the store's answer is not 2xx
   * @throws {StrangeAnswer} the answer is not one of S3
   */
  send<Result>(request: S3Request, signal: AbortSignal, take: (answer: IncomingMessage) => Result | Promise<Result>): Promise<Result>;
  close(): void;
}

/** What an answer that is not an object's bytes may have. */
const SHORT_BYTES = 64 * 1024;
const MAX_SOCKETS = 50;
/** Stores close idle connections, AWS after some twenty seconds; one that says when is believed. */
const IDLE_SOCKET_MS = 15_000;
/** A try that failed for what is mended by making it again is not counted, this often. */
const FREE_REPEATS = 3;
/** What says that the other side had closed the connection before the request came. */
const STALE: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE']);
/** AWS tolerates 15 minutes; an answer without a reason is taken for a matter of the clock from here. */
const SKEW_MS = 5 * 60_000;

/** A connection that was kept from an earlier request turned out to be closed. */
class StaleConnection extends Error {
  constructor(cause: unknown) {
    super('the store had closed the connection', { cause });
    this.name = 'StaleConnection';
  }
}

/** Makes the connection. Nothing is sent before the first request. */
export function createS3Connection(options: S3ConnectionOptions): S3Connection {
  const { region, accessKeyId, secretAccessKey, connectTimeoutMs } = options;
  const target = createRequestTarget(options);
  const agent = new (target.secure ? HttpsAgent : HttpAgent)({
    keepAlive: true,
    maxSockets: MAX_SOCKETS,
    maxFreeSockets: MAX_SOCKETS,
    timeout: IDLE_SOCKET_MS,
  });
  const begin = target.secure ? httpsRequest : httpRequest;
  let clockOffsetMs = 0;

  function signed({ method, key, query = {}, headers, body }: S3Request): ClientRequest {
    const pairs = Object.entries(query).map(([name, value]) => `${encodeStrictly(name)}=${encodeStrictly(value)}`);
    const path = `${target.path(key)}${pairs.length === 0 ? '' : `?${pairs.join('&')}`}`;
    const content = contentHeaders(body);
    const { headers: all = {} } = aws4.sign(
      {
        service: 's3',
        region,
        method,
        path,
        headers: { host: target.host, ...headers, ...content, 'x-amz-date': amzDate(Date.now() + clockOffsetMs) },
      },
      { accessKeyId, secretAccessKey },
    );
    return begin({ agent, method, path, headers: all, host: target.hostname, ...(target.port === undefined ? {} : { port: target.port }) });
  }

  /** True if the refusal was about our clock, and the next try will say another time. */
  function correctClock(error: unknown): boolean {
    if (!(error instanceof S3Refusal) || error.storeTimeMs === undefined) return false;
    const offsetMs = error.storeTimeMs - Date.now();
    const changeMs = Math.abs(offsetMs - clockOffsetMs);
    if (changeMs < SKEW_MS || !(error.code === 'RequestTimeTooSkewed' || (error.code === undefined && error.status === 403))) return false;
    clockOffsetMs = offsetMs;
    return true;
  }

  async function sendOnce<Result>(request: S3Request, signal: AbortSignal, take: (answer: IncomingMessage) => Result | Promise<Result>): Promise<Result> {
    signal.throwIfAborted();
    const outgoing = signed(request);
    let answer: IncomingMessage | undefined;
    let accepted = false;
    const stop = (reason: Error) => (answer ?? outgoing).destroy(reason);
    const abort = () => stop(signal.reason instanceof Error ? signal.reason : new Error('given up'));
    signal.addEventListener('abort', abort, { once: true });
    const timer = setTimeout(() => stop(new DeadlineExceeded('the answer', request.timeoutMs)), request.timeoutMs);
    try {
      limitConnect(outgoing, target.secure ? 'secureConnect' : 'connect', connectTimeoutMs);
      sendBody(outgoing, request.body);
      answer = await headOf(outgoing);
      const status = answer.statusCode ?? 0;
      if (status < 200 || status > 299) throw refusalOf(status, answer.headers, await readText(answer, SHORT_BYTES));
      accepted = true;
      return await take(answer);
    } catch (error) {
      if (answer === undefined && outgoing.reusedSocket && error instanceof Error && 'code' in error && STALE.has(error.code)) throw new StaleConnection(error);
      throw error;
    } finally {
      clearTimeout(timer);
      await endAnswered(outgoing, accepted);
      signal.removeEventListener('abort', abort);
    }
  }

  return {
    send: (request, signal, take) =>
      retried(options.attempts, signal, async () => {
        for (let repeats = 0; ; repeats += 1) {
          try {
            return await sendOnce(request, signal, take);
          } catch (error) {
            if (signal.aborted || repeats >= FREE_REPEATS || !(error instanceof StaleConnection || correctClock(error))) throw error;
          }
        }
      }),
    close: () => agent.destroy(),
  };
}

/** A body from memory is signed by its hash; of a file that would take another pass over it. */
function contentHeaders(body: RequestBody | undefined): Record<string, string | number> {
  if (body === undefined) return { 'x-amz-content-sha256': EMPTY_SHA256 };
  if (!Buffer.isBuffer(body)) return { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'content-length': body.sizeBytes };
  return { 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex'), 'content-length': body.length };
}

const EMPTY_SHA256 = createHash('sha256').digest('hex');

/** `20260102T030405Z` */
function amzDate(timeMs: number): string {
  return new Date(timeMs).toISOString().replaceAll(/[:-]|\.\d{3}/g, '');
}

/** Ends the request if a new connection takes too long. One that waits for a free connection is within its own time. */
function limitConnect(outgoing: ClientRequest, established: 'connect' | 'secureConnect', timeoutMs: number): void {
  outgoing.once('socket', (socket) => {
    if (outgoing.reusedSocket || !socket.connecting) return;
    const timer = setTimeout(() => outgoing.destroy(new DeadlineExceeded('the connection', timeoutMs)), timeoutMs);
    const done = () => clearTimeout(timer);
    socket.once(established, done);
    socket.once('close', done);
  });
}

function headOf(outgoing: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    // Stays for what comes after the answer, which would end the process.
    outgoing.on('error', reject);
    outgoing.once('close', () => reject(new Error('the connection was closed without an answer')));
  });
}

/**
 * The whole of an answer that has no reason to be long.
 * @throws {StrangeAnswer} it is longer
 */
export async function readText(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    // Leaving the loop closes the connection.
    if (sizeBytes > maxBytes) throw new StrangeAnswer(answer.statusCode ?? 0, `the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The headers of an answer whose body has nothing to say. */
export async function readHeaders(answer: IncomingMessage): Promise<IncomingMessage['headers']> {
  await readText(answer, SHORT_BYTES);
  return answer.headers;
}

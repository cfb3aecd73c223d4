import { AsyncLocalStorage } from 'node:async_hooks';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';

/** What was seen on the wire of one send. */
export interface Sighting {
  /** True as soon as the request may have reached FCM. */
  written: boolean;
  /** FCM's answer, as far as it came. */
  status?: number;
  retryAfter?: string;
  /** Ends the request, if one is running, and forbids further ones. */
  end(reason: Error): void;
}

/** Where connections go instead of Google, for tests and development. */
export interface Redirect {
  readonly host: string;
  readonly port: number;
  /** PEM of the authority that signed the other server's certificate. */
  readonly ca?: string | undefined;
}

/** The name that the redirected server's certificate must carry. */
const FCM_HOST = 'fcm.googleapis.com';
/** Below the idle time after which Google closes a connection: a request on a connection that dies under it would be ambiguous for nothing. */
const IDLE_CONNECTION_MS = 60_000;
/** An envelope's pushes at once; what more envelopes bring waits for a connection, and has certainly not been sent while it does. */
const MAX_CONNECTIONS = 200;

/**
 * The HTTPS agent below firebase-admin. Beside keeping connections alive it
 * gives back what the library hides:
 *
 * - The library repeats a send up to four times on 503, ECONNRESET and its own
 *   15 s timeout, so one `send()` could push five times. Here a send makes one
 *   request; the second is refused before it touches the network.
 * - The library takes no AbortSignal; `Sighting.end` stops the request.
 * - Whether a failed request had gone out; without it every lost connection
 *   would count as "may have been sent".
 *
 * Which request belongs to which send is known by the async context in which
 * the library makes it. Requests outside of `watch`, and those for access
 * tokens, pass untouched.
 */
export class FcmAgent extends Agent {
  readonly #sends = new AsyncLocalStorage<{ sighting: Sighting; observe(request: ClientRequest): void }>();
  readonly #redirect: Redirect | undefined;

  constructor(redirect?: Redirect) {
    super({
      keepAlive: true,
      timeout: IDLE_CONNECTION_MS,
      scheduling: 'lifo',
      maxSockets: MAX_CONNECTIONS,
      maxFreeSockets: MAX_CONNECTIONS,
    } satisfies AgentOptions);
    this.#redirect = redirect;
  }

  /** Runs one send. `onAnswer` is called once when the head of FCM's answer is there. */
  watch<Result>(onAnswer: (sighting: Sighting) => void, send: (sighting: Sighting) => Promise<Result>): Promise<Result> {
    let request: ClientRequest | undefined;
    let ended: Error | undefined;
    const sighting: Sighting = {
      written: false,
      end(reason) {
        ended ??= reason;
        request?.destroy(reason);
      },
    };
    const observe = (next: ClientRequest): void => {
      const refusal = ended ?? (request === undefined ? undefined : new Error('firebase-admin tried to repeat the send'));
      if (refusal !== undefined) {
        // Not with ECONNRESET or ETIMEDOUT, which the library would answer by trying again.
        process.nextTick(() => next.destroy(refusal));
        return;
      }
      request = next;
      next.once('socket', (socket) => {
        const mark = () => {
          sighting.written = true;
        };
        // A fresh connection carries nothing before its handshake is done; until then a failure is certainly not a send.
        if (next.reusedSocket) mark();
        else socket.once('secureConnect', mark);
      });
      next.once('response', (response: IncomingMessage) => {
        const retryAfter = response.headers['retry-after'];
        sighting.status = response.statusCode ?? 0;
        if (retryAfter !== undefined) sighting.retryAfter = retryAfter;
        onAnswer(sighting);
      });
    };
    return this.#sends.run({ sighting, observe }, () => send(sighting));
  }

  /** Node's agents take every request here; the types leave it out. */
  addRequest(request: ClientRequest, ...rest: readonly unknown[]): void {
    if (request.path.endsWith('/messages:send')) this.#sends.getStore()?.observe(request);
    type WithAddRequest = { addRequest(this: Agent, request: ClientRequest, ...rest: readonly unknown[]): void };
    (Agent.prototype as unknown as WithAddRequest).addRequest.call(this, request, ...rest);
  }

  override createConnection(options: RequestOptions, callback?: (error: Error | null, stream: Duplex) => void): Duplex | null | undefined {
    if (this.#redirect === undefined) return super.createConnection(options, callback);
    const { host, port, ca } = this.#redirect;
    return super.createConnection({ ...options, host, port, servername: FCM_HOST, ...(ca === undefined ? {} : { ca }) }, callback);
  }
}

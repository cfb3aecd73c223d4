import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { TLSSocket } from 'node:tls';
import type { Delivery } from '@backhaul/jobs/notification';

/** A whole answer. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

/** What is asked. */
export interface OneRequest {
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A send that came to nothing. */
type Lost = Extract<Delivery, { outcome: 'ambiguous' | 'unavailable' }>;

/** Longer answers are none of a provider, fifty of the longest text messages included; reading on would let the other side fill our memory. */
const MAX_ANSWER_BYTES = 512 * 1024;

/**
 * One HTTP request, on a connection of its own, and never a second one.
 *
 * What matters is to know whether the request may have arrived. `fetch` does
 * not say, and on a pooled connection that dies under the request nobody
 * could; a fresh connection has carried nothing until its handshake is done.
 */
export function requestOnce(url: URL, { method, headers, body }: OneRequest, signal: AbortSignal): Promise<Answer | { readonly lost: Lost }> {
  return new Promise((resolve) => {
    let written = false;
    const lost = (error: Error): void =>
      resolve({ lost: written ? { outcome: 'ambiguous', detail: error.message } : { outcome: 'unavailable', detail: error.message } });
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      agent: false,
      signal,
      headers: { accept: 'application/json', ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
    });
    request.once('error', lost);
    request.once('socket', (socket) => {
      socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
        written = true;
      });
    });
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        if (sizeBytes <= MAX_ANSWER_BYTES) chunks.push(chunk);
        else response.destroy(new Error('the answer is too long'));
      });
      response.once('error', lost);
      // 'aborted' bodies end without 'end': an answer that is cut off is no answer.
      response.once('close', () => lost(new Error('the answer was cut off')));
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'], text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    request.end(body);
  });
}

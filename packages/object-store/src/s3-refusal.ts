import type { IncomingHttpHeaders } from 'node:http';
import { retryAfterMs } from '@backhaul/runtime';
import { childText, parseXml } from './s3-xml.ts';

/** What a refusal says beside its message. */
interface RefusalDetails {
  readonly status: number;
  /** S3's name of the error; undefined where the store gives none, as for a HEAD. */
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** The store's time when it refused, in milliseconds. */
  readonly storeTimeMs: number | undefined;
}

/** The store answered that it does not do what was asked for. */
export class S3Refusal extends Error implements RefusalDetails {
  readonly status: number;
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly storeTimeMs: number | undefined;

  constructor(message: string, details: RefusalDetails) {
    super(message);
    this.name = 'S3Refusal';
    this.status = details.status;
    this.code = details.code;
    this.requestId = details.requestId;
    this.retryAfterMs = details.retryAfterMs;
    this.storeTimeMs = details.storeTimeMs;
  }
}

/** An answer that no store gives, such as a proxy's page. It says nothing about the object. */
export class StrangeAnswer extends Error {
  readonly status: number;

  constructor(status: number, problem: string) {
    super(`${problem} (status ${status})`);
    this.name = 'StrangeAnswer';
    this.status = status;
  }
}

/** More of a message than this says nothing more. */
const MESSAGE_CHARACTERS = 300;

/**
 * What an error document, or an answer without a body, says. Of the document only the code, the message,
 * the request's id and the region are taken: the rest repeats the access key and what was signed.
 */
export function refusalOf(status: number, headers: IncomingHttpHeaders, text: string): S3Refusal | StrangeAnswer {
  const error = text === '' ? '' : parseXml(text, 'Error');
  if (error === undefined) return new StrangeAnswer(status, 'the answer is not one of S3');
  const code = childText(error, 'Code');
  const said = childText(error, 'Message')?.slice(0, MESSAGE_CHARACTERS);
  const region = regionOf(headers['x-amz-bucket-region']) ?? regionOf(childText(error, 'Region'));
  const storeTimeMs = Date.parse(headers.date ?? '');
  const message = `${code ?? 'no reason given'} (${status})${said === undefined ? '' : `: ${said}`}`;
  return new S3Refusal(region === undefined || !namesRegion(status, code) ? message : `${message} (the bucket is in the region ${region})`, {
    status,
    code,
    requestId: childText(error, 'RequestId') ?? textOf(headers['x-amz-request-id']),
    retryAfterMs: retryAfterMs(headers['retry-after']).retryAfterMs,
    storeTimeMs: Number.isNaN(storeTimeMs) ? undefined : storeTimeMs,
  });
}

/** A redirect to another region, or a signature for the wrong one. Most answers of S3 name the region. */
function namesRegion(status: number, code: string | undefined): boolean {
  return (status >= 300 && status < 400) || (status === 400 && (code === undefined || code === 'AuthorizationHeaderMalformed'));
}

function regionOf(value: string | readonly string[] | undefined): string | undefined {
  const text = textOf(value);
  return text !== undefined && /^[a-z0-9-]{1,40}$/.test(text) ? text : undefined;
}

function textOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

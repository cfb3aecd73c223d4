import { S3Refusal, StrangeAnswer } from './s3-refusal.ts';

/** There is no object under this key. Permanent, except for an upload that is still under way. */
export class ObjectMissing extends Error {
  readonly code = 'object_missing';

  constructor(key: string, options?: ErrorOptions) {
    super(`there is no object ${key}`, options);
    this.name = 'ObjectMissing';
  }
}

/** The object holds more bytes than the caller accepts, whatever its Content-Length says. Permanent. */
export class ObjectTooLarge extends Error {
  readonly code = 'object_too_large';
  readonly limitBytes: number;

  constructor(key: string, limitBytes: number) {
    super(`the object ${key} is larger than ${limitBytes} bytes`);
    this.name = 'ObjectTooLarge';
    this.limitBytes = limitBytes;
  }
}

/** The store understood and said no: credentials, permissions, bucket, region. An operator must act; trying again does not help. */
export class AccessRefused extends Error {
  readonly code = 'access_refused';

  constructor(what: string, cause: unknown) {
    super(`the object store refused to ${what}: ${reason(cause)}`, { cause });
    this.name = 'AccessRefused';
  }
}

/** The store did not answer, answered too slowly, or said that it cannot now. Transient. */
export class StoreUnavailable extends Error {
  readonly code = 'store_unavailable';

  constructor(what: string, cause: unknown) {
    super(`the object store is not available (${what}): ${reason(cause)}`, { cause });
    this.name = 'StoreUnavailable';
  }
}

/** The HTTP status with which the store itself refused, if it did. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof S3Refusal ? error.status : undefined;
}

/** 4xx answers that say "not now" instead of "no". */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/** Codes that say so under whatever status. */
const TRANSIENT_CODES: ReadonlySet<unknown> = new Set([
  'BandwidthLimitExceeded',
  'InternalError',
  'OperationAborted',
  'PriorRequestNotComplete',
  'RequestLimitExceeded',
  'RequestThrottled',
  'RequestTimeout',
  'RequestTimeoutException',
  'ServiceUnavailable',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
  'TooManyRequestsException',
]);

/** The local file was at fault, not the store: these pass through as they are. */
const LOCAL_DISK: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EEXIST', 'ENOENT', 'EACCES', 'EISDIR', 'EMFILE']);

/** Sorted already. */
const OWN = [ObjectMissing, ObjectTooLarge, AccessRefused, StoreUnavailable];

/**
 * Sorts what a request threw by who must act.
 *
 * | answer | becomes |
 * |---|---|
 * | 404 without NoSuchBucket | ObjectMissing |
 * | 3xx, other 4xx (403, NoSuchBucket, wrong region, ..) | AccessRefused |
 * | 408, 409, 425, 429, 5xx, a code like SlowDown, no answer, an answer that is not S3's | StoreUnavailable |
 */
export function classify(error: unknown, what: string, key: string): Error {
  if (OWN.some((own) => error instanceof own)) return error as Error;
  if (isLocal(error)) return error;
  const status = statusOf(error);
  if (status === 404 && !(error instanceof S3Refusal && error.code === 'NoSuchBucket')) return new ObjectMissing(key, { cause: error });
  if (status !== undefined && status < 500 && !isNotNow(error)) return new AccessRefused(what, error);
  return new StoreUnavailable(what, error);
}

/** Whether the same request may succeed a moment later. 501 will not, nor will what was wrong before anything was sent. */
export function isTransient(error: unknown): boolean {
  if (error instanceof S3Refusal || error instanceof StrangeAnswer) return error.status !== 501 && isNotNow(error);
  return !isLocal(error) && !(error instanceof TypeError) && !(error instanceof URIError);
}

function isNotNow(error: unknown): boolean {
  if (error instanceof S3Refusal && TRANSIENT_CODES.has(error.code)) return true;
  return (error instanceof S3Refusal || error instanceof StrangeAnswer) && (TRANSIENT_STATUS.has(error.status) || error.status >= 500);
}

function isLocal(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && LOCAL_DISK.has(error.code);
}

function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause instanceof S3Refusal ? cause.message : `${cause.name}: ${cause.message}`;
}

import { S3ServiceException } from '@aws-sdk/client-s3';

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

/** The HTTP status of a failed request, if the store answered at all. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

/** 4xx answers that say "not now" instead of "no". */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/** The local file was at fault, not the store: these pass through as they are. */
const LOCAL_DISK: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EEXIST', 'ENOENT', 'EACCES', 'EISDIR', 'EMFILE']);

/** Sorted already. */
const OWN = [ObjectMissing, ObjectTooLarge, AccessRefused, StoreUnavailable];

/**
 * Sorts what the SDK threw by who must act.
 *
 * | answer | becomes |
 * |---|---|
 * | 404 without NoSuchBucket | ObjectMissing |
 * | 3xx, other 4xx (403, NoSuchBucket, wrong region, ..) | AccessRefused |
 * | 408, 409, 425, 429, 5xx, no answer | StoreUnavailable |
 */
export function classify(error: unknown, what: string, key: string): Error {
  if (OWN.some((own) => error instanceof own)) return error as Error;
  if (error instanceof Error && 'code' in error && LOCAL_DISK.has(error.code)) return error;
  const status = statusOf(error);
  if (status === 404 && reasonName(error) !== 'NoSuchBucket') return new ObjectMissing(key, { cause: error });
  if (status !== undefined && status >= 300 && status < 500 && !TRANSIENT_STATUS.has(status)) return new AccessRefused(what, error);
  return new StoreUnavailable(what, error);
}

function reasonName(error: unknown): string | undefined {
  return error instanceof Error ? error.name : undefined;
}

function reason(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const status = statusOf(cause);
  return `${cause.name}${status === undefined ? '' : ` (${status})`}: ${cause.message}`;
}

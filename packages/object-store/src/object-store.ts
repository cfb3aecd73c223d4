import { randomUUID } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
} from '@aws-sdk/client-s3';
import { pause } from '@backhaul/runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { type Addresses, createAddresses } from './addresses.ts';
import { bounded } from './deadline.ts';
import { AccessRefused, ObjectMissing, ObjectTooLarge, StoreUnavailable, classify, statusOf } from './failures.ts';
import { sendFile } from './send-file.ts';
import { type Keep, takeBody } from './take-body.ts';

/** How the client is made. Times in milliseconds. */
export interface ObjectStoreOptions {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
  /** Another store than AWS. Switches to path-style addresses and to checksums only where S3 demands them. */
  readonly endpoint?: string | undefined;
  /** What `publicUrl` puts before the key; the bucket's own address if not given. */
  readonly publicBaseUrl?: string | undefined;
  /** To the established connection. Default 3,000. */
  readonly connectTimeoutMs?: number;
  /** From the request to the head of the answer, each try. Default 10,000. */
  readonly requestTimeoutMs?: number;
  /** Bodies may take `requestTimeoutMs` plus their size at this rate. Default 128 KiB/s. */
  readonly slowestBytesPerSecond?: number;
  /** Tries of one request, the first included. Default 3. */
  readonly attempts?: number;
}

/** What the store says of an object. */
export interface ObjectHead {
  readonly key: string;
  readonly sizeBytes: number;
  /** Changes whenever the object does; as the store writes it, quotes included. */
  readonly etag: string | undefined;
  readonly contentType: string | undefined;
  readonly cacheControl: string | undefined;
  readonly lastModified: Date | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One row of a listing. */
export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly lastModified: Date;
}

/** Bytes to store: in memory, or a file that nobody changes meanwhile. */
export type Body = Buffer | { readonly file: string };

/** How an object is stored. */
export interface PutOptions {
  readonly contentType: string;
  readonly cacheControl?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Store only if the key is free. Default false. */
  readonly ifNoneMatch?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** How an object is fetched. */
export interface GetOptions {
  /** The most bytes to accept; counted as they arrive, because Content-Length may lie. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** What was fetched. `sha256` is of the bytes that arrived, in hex. */
export interface Fetched {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly contentType: string | undefined;
}

/** An object of which nothing was taken yet. It holds a connection until it is read or disposed of. */
export interface OpenObject extends Omit<ObjectHead, 'sizeBytes'>, Disposable {
  /** Undefined where the store does not say. */
  readonly sizeBytes: number | undefined;
  /** The rest is as in `get`; to be called once. */
  read(options: GetOptions): Promise<Fetched & { readonly body: Buffer }>;
  /** The rest is as in `download`; to be called once. */
  save(file: string, options: GetOptions): Promise<Fetched>;
}

/** What became of a bulk delete. A key that was not there counts as deleted. */
export interface Deleted {
  readonly deleted: number;
  readonly failed: readonly { readonly key: string; readonly code: string; readonly message: string }[];
}

/**
 * One bucket. Every method throws `AccessRefused` when the store says no,
 * `StoreUnavailable` when it does not answer, and the signal's reason when the
 * caller gave up; nothing waits for ever.
 */
export interface ObjectStore extends Addresses {
  readonly bucket: string;
  /** The object's properties, or undefined if there is none. */
  head(key: string, options?: { signal?: AbortSignal | undefined }): Promise<ObjectHead | undefined>;
  /** The object's properties, and its bytes for whoever wants them then: one request instead of two. Undefined if there is none. */
  open(key: string, options?: { signal?: AbortSignal | undefined }): Promise<OpenObject | undefined>;
  /**
   * The object in memory.
   * @throws {ObjectMissing} no such key
   * @throws {ObjectTooLarge} more than `maxBytes`
   */
  get(key: string, options: GetOptions): Promise<Fetched & { readonly body: Buffer }>;
  /**
   * The object in a file, which is made anew and is removed by the caller, also on failure.
   * @throws {ObjectMissing} no such key
   * @throws {ObjectTooLarge} more than `maxBytes`
   */
  download(key: string, file: string, options: GetOptions): Promise<Fetched>;
  /** Stores an object whole or not at all. 'exists' only with `ifNoneMatch`: the key was taken, and nothing was written. */
  put(key: string, body: Body, options: PutOptions): Promise<'created' | 'exists'>;
  /** Every object under a prefix in key order, a page at a time; `startAfter` continues an earlier walk. */
  list(prefix: string, options?: { startAfter?: string | undefined; pageSize?: number; signal?: AbortSignal | undefined }): AsyncIterable<ListedObject>;
  /** Deletes in batches of at most 1,000. Failures of single keys are reported, not thrown. */
  deleteMany(keys: readonly string[], options?: { signal?: AbortSignal | undefined }): Promise<Deleted>;
  /** Resolves when the bucket answers. */
  ping(): Promise<void>;
  /** Writes, reads back, compares and deletes a small object: proves the permissions that the fleet needs. */
  roundTrip(): Promise<{ readonly key: string; readonly durationMs: number; readonly conditionalPut: boolean }>;
  /** Drops the connections. */
  close(): Promise<void>;
}

/** The largest number of keys that S3 takes in one DeleteObjects. */
const DELETE_BATCH = 1_000;

function ignore(): void {}

/** Makes the client. It connects on first use; one per process, because sockets are pooled in it. */
export function createObjectStore(options: ObjectStoreOptions): ObjectStore {
  const { bucket } = options;
  const requestTimeoutMs = options.requestTimeoutMs ?? 10_000;
  const attempts = options.attempts ?? 3;
  const bytesPerMs = (options.slowestBytesPerSecond ?? 128 * 1024) / 1_000;
  const client = new S3Client({
    region: options.region,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    maxAttempts: attempts,
    // The SDK's default writes to the console past our logger; what matters is thrown.
    logger: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    requestHandler: new NodeHttpHandler({
      connectionTimeout: options.connectTimeoutMs ?? 3_000,
      requestTimeout: requestTimeoutMs,
      // Without it a breach of requestTimeout is only logged.
      throwOnRequestTimeout: true,
    }),
    ...(options.endpoint === undefined
      ? {}
      : {
          endpoint: options.endpoint,
          forcePathStyle: true,
          // Compatible stores of some age store the framing of the checksum trailer as part of the object.
          requestChecksumCalculation: 'WHEN_REQUIRED',
          responseChecksumValidation: 'WHEN_REQUIRED',
        }),
  });
  /** All tries of a request without a long body: each may take its time, plus the SDK's pauses between them. */
  const smallMs = requestTimeoutMs * attempts + 5_000;
  const transferMs = (sizeBytes: number) => requestTimeoutMs + Math.ceil(sizeBytes / bytesPerMs);

  async function guarded<Result>(
    what: string,
    key: string,
    limits: { timeoutMs: number; signal?: AbortSignal | undefined },
    work: (signal: AbortSignal, extend: (timeoutMs: number) => void) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await bounded(what, limits, work);
    } catch (error) {
      limits.signal?.throwIfAborted();
      throw classify(error, what, key);
    }
  }

  /** @throws {ObjectMissing} no such key */
  async function openObject(key: string, outer: AbortSignal | undefined): Promise<OpenObject> {
    const answer = await guarded(`get ${key}`, key, { timeoutMs: smallMs, signal: outer }, (signal) =>
      client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }),
    );
    const body = answer.Body;
    if (!(body instanceof Readable)) throw new StoreUnavailable(`get ${key}`, new Error('the answer had no body'));
    // Cut off before anybody reads it, it would end the process; whoever reads it then is told.
    body.on('error', ignore);
    const receiveWith = (get: GetOptions, keep: Keep) =>
      receive(key, body, { declaredBytes: answer.ContentLength, contentType: answer.ContentType }, get, keep);
    return {
      ...propertiesOf(key, answer),
      sizeBytes: answer.ContentLength,
      async read(get) {
        const all: Buffer[] = [];
        const fetched = await receiveWith(get, async (chunks) => void all.push(...chunks));
        return { ...fetched, body: Buffer.concat(all) };
      },
      async save(file, get) {
        await using handle = await open(file, 'wx', 0o600);
        // Not writev, which may write a part of them and call that a success.
        return await receiveWith(get, (chunks) => handle.writeFile(Buffer.concat(chunks)));
      },
      [Symbol.dispose]() {
        // An unread body keeps its socket for ever.
        body.destroy();
      },
    };
  }

  /** Takes a body within its limits of size and time. */
  async function receive(
    key: string,
    body: Readable,
    { declaredBytes, contentType }: { declaredBytes: number | undefined; contentType: string | undefined },
    { maxBytes, signal: outer }: GetOptions,
    keep: Keep,
  ): Promise<Fetched> {
    if (declaredBytes !== undefined && declaredBytes > maxBytes) {
      body.destroy();
      throw new ObjectTooLarge(key, maxBytes);
    }
    return guarded(`get ${key}`, key, { timeoutMs: transferMs(declaredBytes ?? maxBytes), signal: outer }, async (signal) => {
      return { ...(await takeBody(key, body, { declaredBytes, maxBytes, signal }, keep)), contentType };
    });
  }

  async function putOnce(key: string, body: Body, sizeBytes: number, put: PutOptions, conditional: boolean): Promise<'created' | 'exists'> {
    const timeoutMs = transferMs(sizeBytes);
    return guarded(`put ${key}`, key, { timeoutMs: Buffer.isBuffer(body) ? timeoutMs * attempts + 5_000 : timeoutMs, signal: put.signal }, async (signal) => {
      const send = (bytes: Buffer | Readable, abortSignal: AbortSignal) => {
        const input: PutObjectCommandInput = {
          Bucket: bucket,
          Key: key,
          Body: bytes,
          ContentLength: sizeBytes,
          ContentType: put.contentType,
          ...(put.cacheControl === undefined ? {} : { CacheControl: put.cacheControl }),
          ...(put.metadata === undefined ? {} : { Metadata: { ...put.metadata } }),
          ...(conditional ? { IfNoneMatch: '*' } : {}),
        };
        return client.send(new PutObjectCommand(input), { abortSignal, requestTimeout: timeoutMs });
      };
      try {
        await (Buffer.isBuffer(body) ? send(body, signal) : sendFile(body.file, signal, send));
        return 'created';
      } catch (error) {
        // Also the answer to our own second try, when the first was stored but its answer was lost.
        if (conditional && statusOf(error) === 412) return 'exists';
        throw error;
      }
    });
  }

  const store: ObjectStore = {
    bucket,
    ...createAddresses(options),
    async head(key, { signal: outer } = {}) {
      try {
        const answer = await guarded(`head ${key}`, key, { timeoutMs: smallMs, signal: outer }, (signal) =>
          client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }),
        );
        return { ...propertiesOf(key, answer), sizeBytes: answer.ContentLength ?? 0 };
      } catch (error) {
        if (error instanceof ObjectMissing) return undefined;
        throw error;
      }
    },
    async open(key, { signal } = {}) {
      try {
        return await openObject(key, signal);
      } catch (error) {
        if (error instanceof ObjectMissing) return undefined;
        throw error;
      }
    },
    async get(key, get) {
      using object = await openObject(key, get.signal);
      return await object.read(get);
    },
    async download(key, file, get) {
      using object = await openObject(key, get.signal);
      return await object.save(file, get);
    },
    async put(key, body, put) {
      const sizeBytes = Buffer.isBuffer(body) ? body.length : (await stat(body.file)).size;
      let conditional = put.ifNoneMatch ?? false;
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await putOnce(key, body, sizeBytes, put, conditional);
        } catch (error) {
          if (conditional && error instanceof Error && statusOf(error.cause) === 501) {
            // A compatible store that does not know If-None-Match: the keys are deterministic, so overwriting is right too.
            conditional = false;
            continue;
          }
          // The SDK cannot send a stream a second time, and does not repeat a 409 (another writer of this key is at it).
          const again = error instanceof StoreUnavailable && (!Buffer.isBuffer(body) || statusOf(error.cause) === 409);
          if (!again || attempt >= attempts) throw error;
          await pause(200 * 2 ** attempt, put.signal);
        }
      }
    },
    async *list(prefix, { startAfter, pageSize = 1_000, signal: outer } = {}) {
      let token: string | undefined;
      do {
        const page = await guarded(`list ${prefix}`, prefix, { timeoutMs: smallMs, signal: outer }, (signal) =>
          client.send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: prefix,
              MaxKeys: pageSize,
              ...(token === undefined ? {} : { ContinuationToken: token }),
              ...(startAfter === undefined || token !== undefined ? {} : { StartAfter: startAfter }),
            }),
            { abortSignal: signal },
          ),
        );
        for (const { Key: key, Size: sizeBytes = 0, LastModified: lastModified } of page.Contents ?? []) {
          if (key !== undefined && lastModified !== undefined) yield { key, sizeBytes, lastModified };
        }
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },
    async deleteMany(keys, { signal: outer } = {}) {
      const failed: { key: string; code: string; message: string }[] = [];
      for (let start = 0; start < keys.length; start += DELETE_BATCH) {
        const batch = keys.slice(start, start + DELETE_BATCH);
        const answer = await guarded('delete objects', bucket, { timeoutMs: smallMs, signal: outer }, (signal) =>
          client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete: { Quiet: true, Objects: batch.map((key) => ({ Key: key })) } }), {
            abortSignal: signal,
          }),
        );
        for (const { Key: key = '', Code: code = 'Unknown', Message: message = '' } of answer.Errors ?? []) {
          if (code !== 'NoSuchKey') failed.push({ key, code, message });
        }
      }
      return { deleted: keys.length - failed.length, failed };
    },
    async ping() {
      try {
        await guarded('reach the bucket', bucket, { timeoutMs: smallMs }, (signal) =>
          client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: signal }),
        );
      } catch (error) {
        if (error instanceof ObjectMissing) throw new AccessRefused('reach the bucket', new Error(`there is no bucket ${bucket}`));
        throw error;
      }
    },
    async roundTrip() {
      const startedAt = performance.now();
      const key = `.backhaul/round-trip/${randomUUID()}`;
      const sent = Buffer.from(key);
      await store.put(key, sent, { contentType: 'text/plain', ifNoneMatch: true });
      let second: 'created' | 'exists';
      try {
        const { body } = await store.get(key, { maxBytes: sent.length });
        if (!body.equals(sent)) throw new StoreUnavailable('round trip', new Error(`${sent.length} bytes were stored but other bytes came back`));
        second = await store.put(key, sent, { contentType: 'text/plain', ifNoneMatch: true });
      } finally {
        await guarded(`delete ${key}`, key, { timeoutMs: smallMs }, (signal) =>
          client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: signal }),
        );
      }
      return { key, durationMs: Math.round(performance.now() - startedAt), conditionalPut: second === 'exists' };
    },
    async close() {
      client.destroy();
    },
  };
  return store;
}

/** What a HEAD and a GET tell alike, but for the size. */
function propertiesOf(key: string, answer: HeadObjectCommandOutput | GetObjectCommandOutput): Omit<ObjectHead, 'sizeBytes'> {
  return {
    key,
    etag: answer.ETag,
    contentType: answer.ContentType,
    cacheControl: answer.CacheControl,
    lastModified: answer.LastModified,
    metadata: answer.Metadata ?? {},
  };
}

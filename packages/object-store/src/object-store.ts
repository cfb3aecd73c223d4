import { createHash, randomUUID } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type Addresses, createAddresses } from './addresses.ts';
import { bounded } from './deadline.ts';
import { AccessRefused, ObjectMissing, ObjectTooLarge, StoreUnavailable, classify, statusOf } from './failures.ts';
import { putHeaders } from './put-headers.ts';
import { LONGEST_PAUSE_MS } from './retry.ts';
import { type ListedObject, deleteDocument, readDeleteResult, readListing } from './s3-documents.ts';
import { type S3Request, createS3Connection, readHeaders } from './s3-request.ts';
import { fitsXml } from './s3-xml.ts';
import { type Keep, takeBody } from './take-body.ts';

/** How the client is made. Times in milliseconds. */
export interface ObjectStoreOptions {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
  /** Another store than AWS. Switches to path-style addresses, and to checksums only where S3 demands them: not all stores know more. */
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
  const connection = createS3Connection({ ...options, attempts, connectTimeoutMs: options.connectTimeoutMs ?? 3_000 });
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

  /** One request; all tries of it may take their time, and the pauses between them. */
  async function send<Result>(
    what: string,
    request: Omit<S3Request, 'timeoutMs'> & { readonly timeoutMs?: number },
    outer: AbortSignal | undefined,
    take: (answer: IncomingMessage) => Result | Promise<Result>,
  ): Promise<Result> {
    const timeoutMs = request.timeoutMs ?? requestTimeoutMs;
    return guarded(what, request.key ?? bucket, { timeoutMs: (timeoutMs + LONGEST_PAUSE_MS) * attempts, signal: outer }, (signal) =>
      connection.send({ ...request, timeoutMs }, signal, take),
    );
  }

  /** @throws {ObjectMissing} no such key */
  async function openObject(key: string, outer: AbortSignal | undefined): Promise<OpenObject> {
    const body = await send(`get ${key}`, { method: 'GET', key }, outer, (answer) => answer);
    // Cut off before anybody reads it, it would end the process; whoever reads it then is told.
    body.on('error', ignore);
    const sizeBytes = sizeOf(body.headers);
    const receiveWith = (get: GetOptions, keep: Keep) => receive(key, body, { declaredBytes: sizeBytes, contentType: body.headers['content-type'] }, get, keep);
    return {
      ...propertiesOf(key, body.headers),
      sizeBytes,
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
    body: IncomingMessage,
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

  async function putWith(key: string, body: Body, sizeBytes: number, put: PutOptions, conditional: boolean): Promise<'created' | 'exists'> {
    const checksumOf = Buffer.isBuffer(body) && options.endpoint === undefined ? body : undefined;
    const headers = putHeaders({ ...put, conditional, checksumOf });
    const content = Buffer.isBuffer(body) ? body : { file: body.file, sizeBytes };
    try {
      await send(`put ${key}`, { method: 'PUT', key, headers, body: content, timeoutMs: transferMs(sizeBytes) }, put.signal, readHeaders);
      return 'created';
    } catch (error) {
      // Also the answer to our own second try, when the first was stored but its answer was lost.
      if (conditional && error instanceof AccessRefused && statusOf(error.cause) === 412) return 'exists';
      throw error;
    }
  }

  /** What is left of the keys, each by a request of its own. */
  async function deleteEach(keys: readonly string[], outer: AbortSignal | undefined): Promise<Deleted['failed']> {
    const failed: { key: string; code: string; message: string }[] = [];
    for (const key of keys) {
      try {
        await send(`delete ${key}`, { method: 'DELETE', key }, outer, readHeaders);
      } catch (error) {
        if (!(error instanceof AccessRefused)) throw error;
        failed.push({ key, code: error.code, message: error.message });
      }
    }
    return failed;
  }

  const store: ObjectStore = {
    bucket,
    ...createAddresses(options),
    async head(key, { signal: outer } = {}) {
      try {
        const headers = await send(`head ${key}`, { method: 'HEAD', key }, outer, readHeaders);
        return { ...propertiesOf(key, headers), sizeBytes: sizeOf(headers) ?? 0 };
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
      const conditional = put.ifNoneMatch ?? false;
      try {
        return await putWith(key, body, sizeBytes, put, conditional);
      } catch (error) {
        if (!conditional || !(error instanceof StoreUnavailable) || statusOf(error.cause) !== 501) throw error;
        // A compatible store that does not know If-None-Match: the keys are deterministic, so overwriting is right too.
        return await putWith(key, body, sizeBytes, put, false);
      }
    },
    async *list(prefix, { startAfter, pageSize = 1_000, signal: outer } = {}) {
      let token: string | undefined;
      do {
        const query = {
          'list-type': '2',
          'encoding-type': 'url',
          prefix,
          'max-keys': String(pageSize),
          ...(token === undefined ? {} : { 'continuation-token': token }),
          ...(startAfter === undefined || token !== undefined ? {} : { 'start-after': startAfter }),
        };
        const page = await send(`list ${prefix}`, { method: 'GET', query }, outer, readListing);
        yield* page.objects;
        token = page.nextToken;
      } while (token !== undefined);
    },
    async deleteMany(keys, { signal: outer } = {}) {
      const failed = [
        ...(await deleteEach(
          keys.filter((key) => !fitsXml(key)),
          outer,
        )),
      ];
      const named = keys.filter(fitsXml);
      for (let start = 0; start < named.length; start += DELETE_BATCH) {
        const body = deleteDocument(named.slice(start, start + DELETE_BATCH));
        const headers = { 'content-type': 'application/xml', 'content-md5': createHash('md5').update(body).digest('base64') };
        const left = await send('delete objects', { method: 'POST', query: { delete: '' }, headers, body }, outer, readDeleteResult);
        failed.push(...left.filter(({ code }) => code !== 'NoSuchKey'));
      }
      return { deleted: keys.length - failed.length, failed };
    },
    async ping() {
      try {
        await send('reach the bucket', { method: 'HEAD' }, undefined, readHeaders);
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
        await send(`delete ${key}`, { method: 'DELETE', key }, undefined, readHeaders);
      }
      return { key, durationMs: Math.round(performance.now() - startedAt), conditionalPut: second === 'exists' };
    },
    async close() {
      connection.close();
    },
  };
  return store;
}

/** What a HEAD and a GET tell alike, but for the size. */
function propertiesOf(key: string, headers: IncomingHttpHeaders): Omit<ObjectHead, 'sizeBytes'> {
  const lastModified = new Date(headers['last-modified'] ?? Number.NaN);
  return {
    key,
    etag: headers.etag,
    contentType: headers['content-type'],
    cacheControl: headers['cache-control'],
    lastModified: Number.isNaN(lastModified.getTime()) ? undefined : lastModified,
    metadata: Object.fromEntries(
      Object.entries(headers).flatMap(([name, value]) => (name.startsWith(META) && typeof value === 'string' ? [[name.slice(META.length), value]] : [])),
    ),
  };
}

const META = 'x-amz-meta-';

function sizeOf(headers: IncomingHttpHeaders): number | undefined {
  const length = headers['content-length'];
  return length === undefined ? undefined : Number(length);
}

import { open, stat } from 'node:fs/promises';
import { type Derivatives, type NotFetched, type Originals, mediaFailure } from '@backhaul/jobs/media';
import { AccessRefused, type ObjectHead, ObjectMissing, type ObjectStore, ObjectTooLarge } from '@backhaul/object-store';

/** Enough of a file to tell its format: the longest headers before the telling bytes are a few hundred. */
const HEAD_BYTES = 4_100;

/** Derivatives never change under their key, so nobody has to ask again. */
const CACHE_CONTROL = 'public, max-age=31536000, immutable';

/** More than any record of ours has. */
const OWN_BYTES = 1024 * 1024;

/** The uploads in a bucket. */
export function s3Originals(store: ObjectStore): Originals {
  return {
    head: (key, signal) =>
      refusals(async () => {
        const head = await store.head(key, { signal });
        return head === undefined ? undefined : { sizeBytes: head.sizeBytes, etag: etagOf(head) };
      }),
    open: (key, signal) =>
      refusals(async () => {
        const object = await store.open(key, { signal });
        if (object === undefined) return undefined;
        // A store that does not say how long an answer is says so when it is asked for that alone.
        const sizeBytes = object.sizeBytes ?? (await store.head(key, { signal }))?.sizeBytes ?? 0;
        return {
          sizeBytes,
          etag: etagOf({ ...object, sizeBytes }),
          read: (options) =>
            fetching(async () => {
              const { body, ...fetched } = await object.read(options);
              return { status: 'fetched', bytes: body, sizeBytes: fetched.sizeBytes, sha256: fetched.sha256 };
            }),
          download: (file, options) =>
            fetching(async () => {
              const fetched = await object.save(file, options);
              return { status: 'fetched', file, sizeBytes: fetched.sizeBytes, sha256: fetched.sha256, head: await readHead(file) };
            }),
          [Symbol.dispose]: () => object[Symbol.dispose](),
        };
      }),
  };
}

/** The outputs in the same bucket. */
export function s3Derivatives(store: ObjectStore): Derivatives {
  return {
    url: (key) => store.publicUrl(key),
    store: (key, body, { contentType, signal }) =>
      refusals(async () => {
        const result = await store.put(key, body, { contentType, cacheControl: CACHE_CONTROL, ifNoneMatch: true, signal });
        if (result === 'created') return { sizeBytes: Buffer.isBuffer(body) ? body.length : (await stat(body.file)).size, existed: false };
        // What lies there counts, not what we would have written: another version of the encoder may have been first.
        return { sizeBytes: (await store.head(key, { signal }))?.sizeBytes ?? 0, existed: true };
      }),
    sizeOf: (key, signal) => refusals(async () => (await store.head(key, { signal }))?.sizeBytes),
    async read(key, signal) {
      try {
        return (await refusals(() => store.get(key, { maxBytes: OWN_BYTES, signal }))).body;
      } catch (error) {
        if (error instanceof ObjectMissing || error instanceof ObjectTooLarge) return undefined;
        throw error;
      }
    },
    async removeAll(prefix) {
      const keys: string[] = [];
      for await (const { key } of store.list(prefix)) keys.push(key);
      const { failed } = await store.deleteMany(keys);
      const first = failed[0];
      if (first !== undefined) throw new Error(`${failed.length} of ${keys.length} objects could not be deleted; ${first.key}: ${first.code} ${first.message}`);
    },
  };
}

/** Compatible stores that send no ETag: size and time tell most changes as well. */
function etagOf({ etag, sizeBytes, lastModified }: Pick<ObjectHead, 'etag' | 'sizeBytes' | 'lastModified'>): string {
  return etag ?? `substitute:${sizeBytes}-${lastModified?.getTime() ?? 0}`;
}

async function fetching<Fetched>(fetch: () => Promise<Fetched>): Promise<Fetched | NotFetched> {
  try {
    return await refusals(fetch);
  } catch (error) {
    if (error instanceof ObjectTooLarge) return { status: 'too_large' };
    throw error;
  }
}

/** No later try can mend credentials or permissions: an operator must. */
async function refusals<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AccessRefused) throw mediaFailure(error.code, error.message, { cause: error });
    throw error;
  }
}

async function readHead(file: string): Promise<Buffer> {
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}

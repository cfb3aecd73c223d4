import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What is known of an object besides its bytes. */
export type ObjectRecord = {
  bucket: string;
  key: string;
  /** Path of the bytes, relative to the store's folder of objects. */
  file: string;
  sizeBytes: number;
  /** Without quotes. */
  etag: string;
  /** ISO time. */
  lastModified: string;
  /** Headers to give back: content-type, cache-control, x-amz-meta-*, .. */
  headers: Record<string, string>;
  /** Headers to give back only when x-amz-checksum-mode asks: x-amz-checksum-crc32, .. */
  checksums: Record<string, string>;
};

/** Thrown by `commit` when If-None-Match or If-Match forbids the write. */
export class PreconditionFailed extends Error {}

/**
 * Buckets as folders and objects as plain files under `<dir>/s3`, so that a person can open them; what
 * else belongs to them is under `<dir>/fakes/s3`.
 */
export class S3Store {
  readonly #objectsDir: string;
  readonly #recordsDir: string;
  readonly #draftsDir: string;
  readonly #buckets = new Map<string, Map<string, ObjectRecord>>();

  constructor(dir: string) {
    this.#objectsDir = join(dir, 's3');
    this.#recordsDir = join(dir, 'fakes', 's3', 'records');
    this.#draftsDir = join(dir, 'fakes', 's3', 'drafts');
    rmSync(this.#draftsDir, { recursive: true, force: true });
    for (const folder of [this.#objectsDir, this.#recordsDir, this.#draftsDir]) mkdirSync(folder, { recursive: true });
    for (const bucket of readdirSync(this.#recordsDir)) {
      const records = new Map<string, ObjectRecord>();
      this.#buckets.set(bucket, records);
      for (const name of readdirSync(join(this.#recordsDir, bucket))) {
        const record = JSON.parse(readFileSync(join(this.#recordsDir, bucket, name), 'utf8')) as ObjectRecord;
        records.set(record.key, record);
      }
    }
  }

  buckets(): string[] {
    return [...this.#buckets.keys()];
  }

  hasBucket(bucket: string): boolean {
    return this.#buckets.has(bucket);
  }

  /** False when it is there already. The name must have been checked (`isBucketName`). */
  createBucket(bucket: string): boolean {
    if (this.#buckets.has(bucket)) return false;
    mkdirSync(join(this.#objectsDir, bucket), { recursive: true });
    mkdirSync(join(this.#recordsDir, bucket), { recursive: true });
    this.#buckets.set(bucket, new Map());
    return true;
  }

  get(bucket: string, key: string): ObjectRecord | undefined {
    return this.#buckets.get(bucket)?.get(key);
  }

  /** All objects of a bucket, in S3's order: by the bytes of the key. */
  list(bucket: string): ObjectRecord[] {
    return [...(this.#buckets.get(bucket)?.values() ?? [])].toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  }

  /** Absolute path of an object's bytes. */
  pathOf(record: ObjectRecord): string {
    return join(this.#objectsDir, record.file);
  }

  /** A path to write a body to before it is committed. */
  draft(): string {
    return join(this.#draftsDir, randomUUID());
  }

  /**
   * Make a finished draft the object. Check and write are one step, so that of several concurrent writers
   * with If-None-Match exactly one succeeds.
   *
   * @throws PreconditionFailed
   */
  commit(draft: string, object: Omit<ObjectRecord, 'file' | 'lastModified'>, only: { ifNoneMatch?: string; ifMatch?: string } = {}): ObjectRecord {
    const { bucket, key } = object;
    const present = this.get(bucket, key);
    if (only.ifNoneMatch === '*' && present) throw new PreconditionFailed();
    if (only.ifMatch !== undefined && only.ifMatch.replaceAll('"', '') !== present?.etag) throw new PreconditionFailed();
    const file = present?.file ?? this.#fileFor(bucket, key);
    const record: ObjectRecord = { ...object, file, lastModified: new Date().toISOString() };
    const path = this.pathOf(record);
    mkdirSync(dirname(path), { recursive: true });
    renameSync(draft, path);
    writeFileSync(this.#recordFile(bucket, key), JSON.stringify(record));
    this.#buckets.get(bucket)?.set(key, record);
    return record;
  }

  /** True when there was such an object. */
  delete(bucket: string, key: string): boolean {
    const record = this.get(bucket, key);
    if (!record) return false;
    rmSync(this.pathOf(record), { force: true });
    rmSync(this.#recordFile(bucket, key), { force: true });
    this.#buckets.get(bucket)?.delete(key);
    return true;
  }

  #recordFile(bucket: string, key: string): string {
    return join(this.#recordsDir, bucket, `${hash(key)}.json`);
  }

  /** The key as a path where it can be one; else a name that cannot leave the folder. */
  #fileFor(bucket: string, key: string): string {
    const aside = join(bucket, '.unusual-keys', hash(key));
    const segments = key.split('/');
    const unusual = segments.some((segment) => segment === '' || segment.startsWith('.') || segment.includes('\0') || Buffer.byteLength(segment) > 200);
    if (unusual || Buffer.byteLength(key) > 700) return aside;
    // `a` and `a/b` are both valid keys, but a path cannot be file and folder at once.
    for (let length = 1; length <= segments.length; length++) {
      const path = join(this.#objectsDir, bucket, ...segments.slice(0, length));
      const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory();
      if (isFolder !== undefined && isFolder !== length < segments.length) return aside;
    }
    return join(bucket, ...segments);
  }
}

/** The names that S3 allows for buckets; they are safe as folder names too. */
export const isBucketName = (name: string): boolean => /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..');

const hash = (key: string): string => createHash('sha256').update(key).digest('hex');

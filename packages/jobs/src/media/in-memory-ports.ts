import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JobContext, PermanentFailure } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import type { FailedProcessing, MediaMetadata } from './metadata.ts';
import { inMemoryConverters } from './in-memory-converters.ts';
import type { FetchOptions, MediaPorts, NotFetched } from './ports.ts';

/** A row of `messages`, as far as media concerns it. */
export interface MessageRow {
  deleted: boolean;
  mediaUrl: string | null;
  thumbnailUrl: string | null;
  metadata: MediaMetadata | { processing: FailedProcessing } | Record<string, unknown> | null;
}

/**
 * The handlers' world in memory, for tests. Files are text: `jpeg:<anything>`
 * is a JPEG, and what the encoders make of it names what they were given.
 */
export interface InMemoryWorld {
  readonly ports: MediaPorts;
  readonly uploads: Map<string, string>;
  readonly stored: Map<string, { readonly text: string; readonly contentType: string }>;
  readonly rows: Map<string, MessageRow>;
  /** How often something was decoded. */
  decodes: number;
  /** Runs while the encoders work, to change the world under their hands. */
  meanwhile: () => void;
  /** What a job is run with; `signal` and `progress` may be replaced. */
  context(options?: Partial<JobContext<MediaPorts>>): JobContext<MediaPorts>;
}

/** An empty world with one message, `MESSAGE`. */
export function inMemoryWorld(): InMemoryWorld {
  const uploads = new Map<string, string>();
  const stored: InMemoryWorld['stored'] = new Map();
  const rows = new Map<string, MessageRow>([[MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null }]]);
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
  const fetch = (text: string, { maxBytes }: FetchOptions) =>
    text.length > maxBytes
      ? ({ status: 'too_large' } satisfies NotFetched)
      : ({ status: 'fetched', bytes: Buffer.from(text), sizeBytes: text.length, sha256: sha256(text) } as const);
  const decode = (text: string) => {
    world.decodes += 1;
    world.meanwhile();
    if (text.includes('broken')) throw new PermanentFailure('corrupt', 'the file cannot be decoded');
  };
  const held = new Set<string>();
  const ports: MediaPorts = {
    originals: {
      async head(key) {
        const text = uploads.get(key);
        return text === undefined ? undefined : { sizeBytes: text.length, etag: sha256(text) };
      },
      async open(key) {
        const text = uploads.get(key);
        if (text === undefined) return undefined;
        return {
          sizeBytes: text.length,
          etag: sha256(text),
          read: async (options) => fetch(text, options),
          async download(file, options) {
            const fetched = fetch(text, options);
            if (fetched.status !== 'fetched') return fetched;
            await writeFile(file, fetched.bytes);
            return { ...fetched, file, head: fetched.bytes };
          },
          [Symbol.dispose]: () => undefined,
        };
      },
    },
    derivatives: {
      async store(key, body, { contentType }) {
        const text = Buffer.isBuffer(body) ? body.toString() : await readFile(body.file, 'utf8');
        const existed = stored.has(key);
        if (!existed) stored.set(key, { text, contentType });
        return { sizeBytes: stored.get(key)?.text.length ?? 0, existed };
      },
      sizeOf: async (key) => stored.get(key)?.text.length,
      async read(key) {
        const text = stored.get(key)?.text;
        return text === undefined ? undefined : Buffer.from(text);
      },
      async removeAll(prefix) {
        for (const key of stored.keys()) if (key.startsWith(prefix)) stored.delete(key);
      },
      url: (key) => `https://media.example/${key}`,
    },
    formats: {
      async sniff(head) {
        const name = head.toString().split(':')[0];
        const known = ['jpeg', 'heic', 'mp4', 'ogg', 'other'] as const;
        return known.find((format) => format === name);
      },
    },
    ...inMemoryConverters(decode),
    messages: {
      async hold(messageId) {
        if (held.has(messageId)) return 'taken';
        held.add(messageId);
        return {
          async [Symbol.asyncDispose]() {
            held.delete(messageId);
          },
        };
      },
      async find(messageId) {
        const row = rows.get(messageId);
        return row === undefined ? undefined : { deleted: row.deleted, metadata: row.metadata };
      },
      async complete(messageId, { mediaUrl, thumbnailUrl, metadata }) {
        const row = rows.get(messageId);
        if (row === undefined) return 'missing';
        if (row.deleted) return 'deleted';
        Object.assign(row, { mediaUrl, thumbnailUrl, metadata: { ...row.metadata, ...metadata } });
        return 'stored';
      },
      async fail(messageId, processing) {
        const row = rows.get(messageId);
        if (row !== undefined) row.metadata = { ...row.metadata, processing };
      },
    },
    scratch: {
      async open() {
        const path = await mkdtemp(join(tmpdir(), 'media-handler-'));
        return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
      },
    },
    limits: { maxBytes: { image: 100, video: 100, audio: 100 }, maxDurationMs: { video: 60_000, audio: 60_000 }, graceMs: 0 },
    settings: { animatedGifToMp4: false, waveformExports: [] },
  };
  const world: InMemoryWorld = {
    ports,
    uploads,
    stored,
    rows,
    decodes: 0,
    meanwhile: () => undefined,
    context: (options = {}) => ({
      ports,
      signal: new AbortController().signal,
      log: silentLogger,
      lastTry: false,
      messageId: 'event-1',
      attempt: 1,
      progress: () => undefined,
      ...options,
    }),
  };
  return world;
}

/** The message of every test. */
export const MESSAGE = '0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11';

/** The stable code of a permanent failure; anything else is passed on. */
export async function failureOf(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof PermanentFailure) return error.code;
    throw error;
  }
}

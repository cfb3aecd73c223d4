import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createChatTables, createDatabase, createHolds } from '@backhaul/database';
import { type MediaKind, type MediaMetadata, type MediaPorts, TransientMediaFailure, mediaHandlers } from '@backhaul/jobs/media';
import { createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { PermanentFailure } from '@backhaul/queue/job';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { findToolchain } from '../adapters/ffmpeg/toolchain.ts';
import { createScratchFolders } from '../adapters/scratch-folders.ts';
import { mediaWorkerConfig } from '../config.ts';
import { mediaPorts } from '../ports.ts';
import { PATH } from '../sample-media.ts';
import { createLauncher } from '../sandbox/launcher.ts';
import { createSlots } from './generate.ts';

/** What the message row says in the end, and what clients would get. */
export type Processed = { readonly attempts: number; readonly elapsedMs: number } & (
  | { readonly state: 'done'; readonly metadata: MediaMetadata; readonly outputs: ReadonlyMap<string, Buffer> }
  | { readonly state: 'failed'; readonly code: string; readonly reason: string }
);

/** The media handlers on everything real: S3 over HTTP, Postgres, ffmpeg, sharp, scratch folders; and a listener that nobody may call. */
export interface WorkerUnderTest extends AsyncDisposable {
  readonly ports: MediaPorts;
  /** An address that files point at. */
  readonly canaryUrl: string;
  /** How often somebody connected to it. */
  canaryConnections(): number;
  /**
   * Uploads a file and works on it as the queue would: again after a failure
   * that may pass, three times at most. `name` is the end of its key, as a sender may have chosen it.
   * @throws whatever is neither done nor a failure of the closed list
   */
  process(bytes: Buffer, kind: MediaKind, name?: string): Promise<Processed>;
  /** What is left of jobs in this worker's folder. */
  leftovers(): Promise<string[]>;
  /** The folder that jobs work in, for finding their processes. */
  readonly scratchRoot: string;
}

/** The longest that a test's videos and sounds may be. */
const MAX_DURATION_MS = 60_000;

/** The limit of the jobs for pictures and sounds, here for all, with retries; then the job is cancelled, which is a failure of the test. */
export const DEADLINE_MS = 60_000;

const ATTEMPTS = 3;

const JOBS = { image: 'media.process-image', video: 'media.transcode-video', audio: 'media.convert-audio' } as const;

/** What it stands on: the variables of a stack, and how many jobs run at once; more wait. */
export interface WorkerUnderTestOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly concurrency: number;
}

/** Starts one. */
export async function startWorkerUnderTest(options: WorkerUnderTestOptions): Promise<WorkerUnderTest> {
  const scratchRoot = await mkdtemp(join(tmpdir(), 'corpus-'));
  const config = loadConfig(mediaWorkerConfig, {
    ...options.env,
    MEDIA_GRACE_MS: '0',
    MEDIA_TEMP_DIR: scratchRoot,
    MEDIA_CONCURRENCY: String(options.concurrency),
    MEDIA_MAX_VIDEO_DURATION_MS: String(MAX_DURATION_MS),
    MEDIA_MAX_AUDIO_DURATION_MS: String(MAX_DURATION_MS),
  });
  const connections = { url: config.DATABASE_URL, statementTimeoutMs: 10_000, applicationName: 'corpus', log: silentLogger };
  const database = createDatabase({ ...connections, poolSize: 2 });
  const holdConnections = createDatabase({ ...connections, poolSize: options.concurrency });
  await createChatTables(database);
  const store = createObjectStore(objectStoreOptions(config));
  const scratch = await createScratchFolders(scratchRoot, { minFreeBytes: 0 });
  const toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', heifConvert: 'heif-convert', path: PATH });
  const launcher = createLauncher();
  const ports = mediaPorts(config, {
    toolchain,
    runChild: launcher.runChild,
    scratch,
    database,
    holds: createHolds(holdConnections, { longestMs: 2 * DEADLINE_MS }),
    store,
  });
  const canary = await startCanary();
  const slots = createSlots(options.concurrency);

  async function attemptUntilFinal(messageId: string, s3Key: string, kind: MediaKind): Promise<number> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    for (let attempt = 1; ; attempt++) {
      const lastTry = attempt === ATTEMPTS;
      const context = { ports, signal, log: silentLogger, messageId: 'corpus', attempt, lastTry, progress: () => undefined };
      try {
        await mediaHandlers[JOBS[kind]]({ s3Key, messageId }, context);
        return attempt;
      } catch (error) {
        if (error instanceof PermanentFailure) return attempt;
        if (!(error instanceof TransientMediaFailure) || lastTry) throw error;
      }
    }
  }

  return {
    ports,
    scratchRoot,
    canaryUrl: canary.url,
    canaryConnections: canary.connections,
    process: (bytes, kind, name = '') =>
      slots(async () => {
        const startedAt = performance.now();
        const messageId = randomUUID();
        const s3Key = `uploads/${messageId}${name}`;
        await database.query('INSERT INTO messages (id, sender_id, chat_id, media_metadata) VALUES ($1, $2, $2, $3)', [messageId, randomUUID(), 'null']);
        await store.put(s3Key, bytes, { contentType: 'application/octet-stream' });
        const attempts = await attemptUntilFinal(messageId, s3Key, kind);
        const { rows } = await database.query<{ media_metadata: MediaMetadata }>('SELECT media_metadata FROM messages WHERE id = $1', [messageId]);
        const metadata = rows[0]?.media_metadata;
        const processing = metadata?.processing as MediaMetadata['processing'] | { state: 'failed'; code: string; reason: string } | undefined;
        if (metadata === undefined || processing === undefined) throw new Error('the job ended, and the row says nothing');
        const elapsedMs = Math.round(performance.now() - startedAt);
        if (processing.state === 'failed') return { state: 'failed', code: processing.code, reason: processing.reason, attempts, elapsedMs };
        const outputs = new Map<string, Buffer>();
        for (const [name, { key }] of Object.entries(metadata.variants)) outputs.set(name, (await store.get(key, { maxBytes: 64 * 1024 ** 2 })).body);
        return { state: 'done', metadata, outputs, attempts, elapsedMs };
      }),
    async leftovers() {
      const own = await readdir(scratchRoot);
      return (await Promise.all(own.map((name) => readdir(join(scratchRoot, name))))).flat();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([database.close(), holdConnections.close(), store.close(), scratch.close(), canary.close(), launcher.close()]);
      await rm(scratchRoot, { recursive: true, force: true });
    },
  };
}

/** Somebody who listens on this machine and counts who calls. */
async function startCanary(): Promise<{ url: string; connections(): number; close(): Promise<void> }> {
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the canary has no port');
  return {
    url: `http://127.0.0.1:${address.port}/canary`,
    connections: () => connections,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createChatTables, createDatabase, createHolds } from '@backhaul/database';
import { type MediaKind, type MediaMetadata, mediaHandlers } from '@backhaul/jobs/media';
import { createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { type Toolchain, findToolchain } from '../../services/media-worker/src/adapters/ffmpeg/toolchain.ts';
import { createScratchFolders } from '../../services/media-worker/src/adapters/scratch-folders.ts';
import { type MediaWorkerConfig, mediaWorkerConfig } from '../../services/media-worker/src/config.ts';
import { collectSeldom } from '../../services/media-worker/src/heap.ts';
import { mediaPorts } from '../../services/media-worker/src/ports.ts';
import { createLauncher } from '../../services/media-worker/src/sandbox/launcher.ts';
import type { Contender } from './contest.ts';

/** A message whose medium was uploaded, and the job that works on it. */
export interface MediaJob {
  /** @throws Error unless it ends well */
  run(): Promise<void>;
  /** What it made. */
  result(): Promise<{ readonly metadata: MediaMetadata; readonly files: ReadonlyMap<string, Buffer> }>;
}

/** The real handlers on the real adapters, in this process; the servers run elsewhere. */
export interface BenchWorker extends AsyncDisposable {
  readonly config: MediaWorkerConfig;
  /** Puts a file into the bucket and returns its key. */
  upload(file: string): Promise<string>;
  /** Jobs for as many new messages with this upload. */
  jobs(kind: MediaKind, s3Key: string, count: number): Promise<MediaJob[]>;
}

/** The handler of each kind. */
const HANDLERS = {
  image: mediaHandlers['media.process-image'],
  video: mediaHandlers['media.transcode-video'],
  audio: mediaHandlers['media.convert-audio'],
} as const;

const JOB_TIMEOUT_MS = 5 * 60_000;

/** Set up and wired as the service's main.ts does it. `adapt` may put another ffmpeg into its place. */
export async function startBenchWorker(env: NodeJS.ProcessEnv, adapt = (found: Toolchain): Toolchain => found): Promise<BenchWorker> {
  collectSeldom();
  const config = loadConfig(mediaWorkerConfig, env);
  const connections = { url: config.DATABASE_URL, statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS, applicationName: 'bench', log: silentLogger };
  const database = createDatabase({ ...connections, poolSize: config.DATABASE_POOL_SIZE });
  const holdConnections = createDatabase({ ...connections, poolSize: config.MEDIA_CONCURRENCY });
  await createChatTables(database);
  const store = createObjectStore(objectStoreOptions(config));
  const scratch = await createScratchFolders(config.MEDIA_TEMP_DIR, { minFreeBytes: config.MEDIA_TEMP_MIN_FREE_BYTES });
  const toolchain = adapt(await findToolchain({ ffmpeg: config.FFMPEG_PATH, ffprobe: config.FFPROBE_PATH, path: env['PATH'] ?? '' }));
  const launcher = createLauncher();
  const ports = mediaPorts(config, {
    toolchain,
    runChild: launcher.runChild,
    scratch,
    database,
    holds: createHolds(holdConnections, { longestMs: 2 * JOB_TIMEOUT_MS }),
    store,
  });

  return {
    config,
    async upload(file) {
      const s3Key = `uploads/${randomUUID()}`;
      await store.put(s3Key, await readFile(file), { contentType: 'application/octet-stream' });
      return s3Key;
    },
    async jobs(kind, s3Key, count) {
      const messageIds = Array.from({ length: count }, () => randomUUID());
      for (const messageId of messageIds) await database.query('INSERT INTO messages (id, sender_id, chat_id) VALUES ($1, $2, $2)', [messageId, randomUUID()]);
      return messageIds.map((messageId) => ({
        async run() {
          const signal = AbortSignal.timeout(JOB_TIMEOUT_MS);
          const context = { ports, signal, log: silentLogger, messageId, attempt: 1, lastTry: false, progress: () => undefined };
          const { status } = await HANDLERS[kind]({ s3Key, messageId }, context);
          if (status !== 'done') throw new Error(`the job ended as ${status}`);
        },
        async result() {
          const { rows } = await database.query<{ metadata: MediaMetadata }>('SELECT media_metadata AS metadata FROM messages WHERE id = $1', [messageId]);
          const metadata = rows[0]?.metadata;
          if (metadata === undefined) throw new Error('the job left no metadata');
          const files = new Map<string, Buffer>();
          for (const [name, { key }] of Object.entries(metadata.variants)) files.set(name, (await store.get(key, { maxBytes: 64 * 1024 ** 2 })).body);
          return { metadata, files };
        },
      }));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([database.close(), holdConnections.close(), store.close(), scratch.close(), launcher.close()]);
    },
  };
}

/** Runs jobs one after the other. */
export async function runAll(jobs: readonly MediaJob[]): Promise<void> {
  for (const job of jobs) await job.run();
}

/** The worker as one way to do the work, beside others. */
export function contender(worker: BenchWorker, name: string, jobs: number, kind: MediaKind, s3Key: string): Contender {
  return { name, jobs, prepare: async (count) => (await worker.jobs(kind, s3Key, count)).map(({ run }) => run) };
}

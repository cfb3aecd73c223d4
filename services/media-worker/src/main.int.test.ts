import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, createChatTables, createDatabase, createJobs, migrate } from '@backhaul/database';
import { type ObjectStore, createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { type Producer, createProducer, redisOptions } from '@backhaul/queue';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { type Fleet, eventually, sharedStack, startFleet } from '@backhaul/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type MediaWorkerConfig, mediaWorkerConfig } from './config.ts';
import { type SampleMedia, lavfi, sampleMedia } from './sample-media.ts';

/** The process as it runs in production, on a queue and a database of its own. */
const name = `media_${randomUUID().replaceAll('-', '')}`;
let env: Record<string, string>;
let config: MediaWorkerConfig;
let samples: SampleMedia;
let database: Database;
let producer: Producer;
let store: ObjectStore;
let fleet: Fleet;

beforeAll(async () => {
  samples = await sampleMedia();
  const stack = sharedStack();
  const admin = createDatabase({
    url: stack.env['DATABASE_URL'] ?? '',
    poolSize: 1,
    statementTimeoutMs: 30_000,
    applicationName: 'media-test',
    log: silentLogger,
  });
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.close();
  const address = new URL(stack.env['DATABASE_URL'] ?? '');
  address.pathname = `/${name}`;
  env = {
    ...stack.env,
    DATABASE_URL: address.href,
    QUEUE_PREFIX: name,
    MEDIA_TEMP_DIR: join(samples.folder, 'scratch'),
    WORKER_LOCK_DURATION_MS: '1500',
    WORKER_STALLED_INTERVAL_MS: '500',
  };
  config = loadConfig(mediaWorkerConfig, env);
  database = createDatabase({ url: config.DATABASE_URL, poolSize: 2, statementTimeoutMs: 10_000, applicationName: 'media-test', log: silentLogger });
  await migrate(database);
  await createChatTables(database);
  store = createObjectStore(objectStoreOptions(config));
  producer = await createProducer({ redis: redisOptions(config), prefix: name, log: silentLogger });
  fleet = await startFleet({ env, services: ['media-worker'] });
});
afterAll(async () => {
  await fleet?.stop();
  await Promise.all([producer?.close(), database?.close(), store?.close()]);
  await samples[Symbol.asyncDispose]();
});

/** Uploads a file and queues the job for it, as the bridge does. */
async function send(job: 'media.process-image' | 'media.transcode-video', type: string, bytes: Buffer) {
  const messageId = randomUUID();
  const payload = { type, s3Key: `uploads/${messageId}`, messageId, userId: 'u' };
  await store.put(payload.s3Key, bytes, { contentType: 'application/octet-stream' });
  await database.query('INSERT INTO messages (id, sender_id, chat_id) VALUES ($1, $1, $1)', [messageId]);
  const payloadJson = JSON.stringify(payload);
  const record = {
    messageId,
    queue: 'media',
    name: job,
    priority: 1,
    bodyHash: createHash('sha256').update(payloadJson).digest(),
    payloadJson,
    traceparent: null,
  };
  await createJobs(database).record([record]);
  await producer.addBatch('media', [record]);
  return {
    async state() {
      const { rows } = await database.query<{ url: string | null; processing: { state: string } | null }>(
        `SELECT media_url AS url, media_metadata->'processing' AS processing FROM messages WHERE id = $1`,
        [messageId],
      );
      return rows[0]?.processing?.state;
    },
    /** Of the job's own record, which ends after the row was written. */
    async status() {
      const { rows } = await database.query<{ status: string }>('SELECT status FROM backhaul.jobs WHERE message_id = $1', [messageId]);
      return rows[0]?.status;
    },
    /** Output names and when they were written. */
    async stored() {
      const found = new Map<string, number>();
      for await (const { key, lastModified } of store.list(`media/${messageId}/`)) found.set(key.split('/').at(-1) ?? '', lastModified.getTime());
      return found;
    },
    async objects() {
      return [...(await this.stored()).keys()];
    },
  };
}

/** The ffmpeg processes that a process has started, itself or through its guards, from the kernel. */
function encodersOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    return children.flatMap((child) => (readFileSync(`/proc/${child}/comm`, 'utf8').trim() === 'ffmpeg' ? [child] : encodersOf(child)));
  } catch {
    return [];
  }
}

function gone(pid: number): boolean {
  try {
    return /^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

test('the worker says what it depends on and that all of it is there', async () => {
  const response = await fetch(`${fleet.get('media-worker').url}/health`);
  expect(await response.json()).toMatchObject({
    status: 'healthy',
    dependencies: { postgres: { ok: true }, s3: { ok: true }, ffmpeg: { ok: true }, redis: { ok: true } },
  });
});

test('a queued picture is processed', async () => {
  const picture = await readFile(await samples.make('photo.jpg', [...lavfi.picture('1600x1200', 1), '-frames:v', '1', '-update', '1']));
  const job = await send('media.process-image', 'image', picture);
  await eventually(async () => expect(await job.state()).toBe('done'), { timeoutMs: 20_000 });
  expect(await job.objects()).toEqual(['facts.json', 'full.webp', 'medium.webp', 'thumb.webp']);
});

test('a worker killed in the middle of a video leaves no encoder, and its successor finishes the job once (A-04)', async () => {
  const long = await readFile(await samples.make('long.mkv', [...lavfi.picture('960x540', 30, 5), '-c:v', 'mpeg4', '-q:v', '3']));
  const job = await send('media.transcode-video', 'video', long);
  const worker = fleet.get('media-worker');
  let encoders: number[] = [];
  await eventually(() => {
    encoders = encodersOf(worker.pid);
    expect(encoders).toHaveLength(1);
  });
  await worker.kill('SIGKILL');
  await eventually(() => expect(encoders.filter((pid) => !gone(pid))).toEqual([]));
  expect(await job.state()).toBeUndefined();
  await worker.restart();
  await eventually(async () => expect(await job.state()).toBe('done'), { timeoutMs: 40_000 });
  expect(await job.objects()).toEqual(['facts.json', 'poster.jpg', 'thumb.jpg', 'video.mp4']);
  // The dead worker's folder was swept at the start of the next, and the next has cleaned up after itself.
  const folders = await readdir(join(samples.folder, 'scratch'));
  expect(folders).toHaveLength(1);
  await eventually(async () => expect(await readdir(join(samples.folder, 'scratch', folders[0] ?? ''))).toEqual([]));
});

test('a stop in the middle of a video hands it back and leaves nothing running', async () => {
  const worker = fleet.get('media-worker');
  const long = await readFile(await samples.make('longer.mkv', [...lavfi.picture('960x540', 30, 6), '-c:v', 'mpeg4', '-q:v', '3']));
  await worker.kill('SIGTERM');
  await worker.restart({ WORKER_STOP_GRACE_MS: '100' });
  const job = await send('media.transcode-video', 'video', long);
  let encoders: number[] = [];
  await eventually(() => {
    encoders = encodersOf(worker.pid);
    expect(encoders).toHaveLength(1);
  });
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(encoders.filter((pid) => !gone(pid))).toEqual([]);
  expect(await readdir(join(samples.folder, 'scratch'))).toEqual([]);
  await worker.restart();
  await eventually(async () => expect(await job.state()).toBe('done'), { timeoutMs: 40_000 });
});

test.each(['media.facts', 'media.stored', 'media.published'])(
  'a worker killed at %s leaves one whole set of outputs, of which none is made twice',
  async (failpoint) => {
    const worker = fleet.get('media-worker');
    await worker.kill('SIGTERM');
    await worker.restart({ FAILPOINT: failpoint });
    const job = await send('media.transcode-video', 'video', await readFile(await samples.clip()));
    await worker.exited;
    const before = await job.stored();
    await worker.restart({ FAILPOINT: '' });
    await eventually(async () => expect(await job.status()).toBe('done'), { timeoutMs: 40_000 });
    const after = await job.stored();
    expect([...after.keys()]).toEqual(['facts.json', 'poster.jpg', 'thumb.jpg', 'video.mp4']);
    // The same writing time: not written again.
    for (const [name, writtenAt] of before) expect([name, after.get(name)]).toEqual([name, writtenAt]);
    expect(before.size).toBe(failpoint === 'media.facts' ? 1 : 4);
  },
);

test('a worker that must have a sandbox and has none refuses to start and says what brings it (E-20)', async () => {
  // A PATH with ffmpeg and nothing else.
  const path = await mkdtemp(join(samples.folder, 'bin-'));
  for (const program of ['ffmpeg', 'ffprobe', 'sh', 'dd', 'tee']) await symlink(`/usr/bin/${program}`, join(path, program));
  const bare = startFleet({ env: { ...env, PATH: path, MEDIA_SANDBOX: 'strict' }, services: ['media-worker'] });
  await expect(bare).rejects.toThrow(/MEDIA_SANDBOX is strict.*network \(install bubblewrap/s);
});

test('a worker without ffmpeg refuses to start and says what to install', async () => {
  const broken = startFleet({ env: { ...env, FFMPEG_PATH: '/nowhere/ffmpeg' }, services: ['media-worker'] });
  await expect(broken).rejects.toThrow(/\/nowhere\/ffmpeg cannot be started.*apt-get install ffmpeg/s);
});

import { randomUUID } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, createChatTables, createDatabase, createHolds } from '@backhaul/database';
import { mediaHandlers } from '@backhaul/jobs/media';
import { type ObjectStore, createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { PermanentFailure } from '@backhaul/queue/job';
import { loadConfig, silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findToolchain } from './adapters/ffmpeg/toolchain.ts';
import { runChild } from './sandbox/child.ts';
import { type ScratchFolders, createScratchFolders } from './adapters/scratch-folders.ts';
import { mediaWorkerConfig } from './config.ts';
import { mediaPorts } from './ports.ts';
import { PATH, type SampleMedia, sampleMedia } from './sample-media.ts';

/** The handlers on the real adapters: S3 over HTTP, Postgres, ffmpeg, sharp. */
let samples: SampleMedia;
let database: Database;
let holdConnections: Database;
let store: ObjectStore;
let scratch: ScratchFolders;
let ports: ReturnType<typeof mediaPorts>;

beforeAll(async () => {
  samples = await sampleMedia();
  const config = loadConfig(mediaWorkerConfig, { ...sharedStack().env, MEDIA_GRACE_MS: '0', MEDIA_TEMP_DIR: join(samples.folder, 'scratch') });
  const connections = { url: config.DATABASE_URL, poolSize: 2, statementTimeoutMs: 10_000, applicationName: 'media-test', log: silentLogger };
  database = createDatabase(connections);
  holdConnections = createDatabase(connections);
  await createChatTables(database);
  store = createObjectStore(objectStoreOptions(config));
  scratch = await createScratchFolders(config.MEDIA_TEMP_DIR, { minFreeBytes: 0 });
  const toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
  ports = mediaPorts(config, { toolchain, runChild, scratch, database, holds: createHolds(holdConnections, { longestMs: 60_000 }), store });
});
afterAll(async () => {
  await Promise.all([database.close(), holdConnections.close(), store.close(), scratch.close()]);
  await samples[Symbol.asyncDispose]();
});

interface Row {
  media_url: string | null;
  thumbnail_url: string | null;
  media_metadata: Record<string, unknown>;
}

/** A message with an upload, and the means to process it and look at the outcome. */
async function message(bytes: Buffer | undefined, metadata: Record<string, unknown> | null = null) {
  const messageId = randomUUID();
  const s3Key = `uploads/${messageId}`;
  await database.query('INSERT INTO messages (id, sender_id, chat_id, media_metadata) VALUES ($1, $2, $2, $3)', [
    messageId,
    randomUUID(),
    JSON.stringify(metadata),
  ]);
  if (bytes !== undefined) await store.put(s3Key, bytes, { contentType: 'application/octet-stream' });
  const context = { ports, signal: AbortSignal.timeout(50_000), log: silentLogger, messageId: 'event', attempt: 1, lastTry: false, progress: () => undefined };
  const payload = { s3Key, messageId, userId: 'u' };
  return {
    messageId,
    s3Key,
    image: () => mediaHandlers['media.process-image'](payload, context),
    video: () => mediaHandlers['media.transcode-video'](payload, context),
    audio: () => mediaHandlers['media.convert-audio'](payload, context),
    async row(): Promise<Row> {
      const { rows } = await database.query<Row>('SELECT media_url, thumbnail_url, media_metadata FROM messages WHERE id = $1', [messageId]);
      const [row] = rows;
      if (row === undefined) throw new Error('the row is gone');
      return row;
    },
    async objects() {
      const found = new Map<string, string>();
      for await (const { key } of store.list(`media/${messageId}/`)) found.set(key.split('/').at(-1) ?? '', key);
      return found;
    },
  };
}

async function fetchUrl(url: string | null) {
  const response = await fetch(url ?? '');
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    cache: response.headers.get('cache-control'),
    body: Buffer.from(await response.arrayBuffer()),
  };
}

test('a phone picture in the bucket becomes three upright pictures there and a row that names them', async () => {
  const phone = await sharp({ create: { width: 1600, height: 1200, channels: 3, background: 'teal' } })
    .withExif({ IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 3230/100' } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  const { image, row, objects } = await message(phone, { caption: 'of the app' });
  expect(await image()).toMatchObject({ status: 'done', result: { reused: false, width: 1200, height: 1600 } });
  expect([...(await objects()).keys()]).toEqual(['facts.json', 'full.webp', 'medium.webp', 'thumb.webp']);
  const { media_url, thumbnail_url, media_metadata } = await row();
  expect(media_metadata).toMatchObject({
    caption: 'of the app',
    kind: 'image',
    processing: { state: 'done' },
    variants: { thumb: { width: 240, height: 320 } },
  });
  const [full, thumb] = await Promise.all([fetchUrl(media_url), fetchUrl(thumbnail_url)]);
  expect(full).toMatchObject({ status: 200, type: 'image/webp', cache: 'public, max-age=31536000, immutable' });
  expect(await sharp(full.body).metadata()).toMatchObject({ width: 1200, height: 1600 });
  expect((await sharp(full.body).metadata()).exif).toBeUndefined();
  expect(thumb.body.length).toBe((media_metadata['variants'] as Record<string, { sizeBytes: number }>)['thumb']?.sizeBytes);
  expect(await image()).toMatchObject({ result: { reused: true } });
});

test('a phone video becomes an MP4 with a poster', async () => {
  const { video, row } = await message(await readFile(await samples.portrait()));
  expect(await video()).toMatchObject({ status: 'done', result: { road: 'transcode', width: 720, height: 960 } });
  const { media_url, thumbnail_url, media_metadata } = await row();
  expect(await fetchUrl(media_url)).toMatchObject({ status: 200, type: 'video/mp4' });
  expect(await sharp((await fetchUrl(thumbnail_url)).body).metadata()).toMatchObject({ format: 'jpeg', width: 960, height: 1280 });
  expect(media_metadata).toMatchObject({ kind: 'video', durationMs: expect.closeTo(1_000, -2) as number, hasAudio: true });
});

test('a voice note becomes an MP3 with a waveform', async () => {
  const { audio, row } = await message(await readFile(await samples.voiceNote()));
  expect(await audio()).toMatchObject({ status: 'done', result: { durationMs: 1_000 } });
  const { media_url, thumbnail_url, media_metadata } = await row();
  expect(await fetchUrl(media_url)).toMatchObject({ status: 200, type: 'audio/mpeg' });
  expect(thumbnail_url).toBeNull();
  const { peaks } = media_metadata['waveform'] as { peaks: string };
  expect(Buffer.from(peaks, 'base64')).toHaveLength(10);
  expect(Math.min(...Buffer.from(peaks, 'base64'))).toBeGreaterThan(20);
});

test('of two jobs for the same message one works and the other waits, then finds everything done', async () => {
  const { video, row, objects } = await message(await readFile(await samples.clip()));
  const outcomes = await Promise.allSettled([video(), video()]);
  const waiting = outcomes.filter(({ status }) => status === 'rejected');
  expect(waiting).toMatchObject([{ reason: { name: 'RetryLater', code: 'message_busy' } }]);
  const before = await row();
  expect(await video()).toMatchObject({ status: 'done', result: { reused: true } });
  expect(await row()).toEqual(before);
  expect([...(await objects()).keys()]).toEqual(['facts.json', 'poster.jpg', 'thumb.jpg', 'video.mp4']);
  expect(await fetchUrl(before.media_url)).toMatchObject({ status: 200 });
});

test('of a video whose still is lost only the still is made again', async () => {
  const { video, row, objects } = await message(await readFile(await samples.clip()));
  await video();
  const [before, stored] = [await row(), await objects()];
  const made = await store.head(stored.get('video.mp4') ?? '');
  await store.deleteMany([stored.get('poster.jpg') ?? '']);
  expect(await video()).toMatchObject({ status: 'done', result: { reused: false } });
  expect(await row()).toEqual(before);
  expect([...(await objects()).keys()]).toEqual(['facts.json', 'poster.jpg', 'thumb.jpg', 'video.mp4']);
  expect(await store.head(stored.get('video.mp4') ?? '')).toEqual(made);
});

test('an upload that is replaced while it is worked on fails as such (D-07)', async () => {
  const sent = await message(await readFile(await samples.clip()));
  const { toMp4 } = ports.videos;
  Object.assign(ports.videos, {
    toMp4: async (...args: Parameters<typeof toMp4>) => {
      await store.put(sent.s3Key, Buffer.from('another'), { contentType: 'video/mp4' });
      return toMp4(...args);
    },
  });
  try {
    await expect(sent.video()).rejects.toMatchObject({ name: 'PermanentFailure', code: 'source_changed' });
  } finally {
    Object.assign(ports.videos, { toMp4 });
  }
  expect(await sent.row()).toMatchObject({ media_url: null, media_metadata: { processing: { state: 'failed', code: 'source_changed' } } });
  expect((await sent.objects()).size).toBe(0);
});

test('what cannot be processed leaves its reason in the row and nothing in the bucket', async () => {
  const cases = [
    { kind: 'image', bytes: undefined, code: 'source_missing' },
    { kind: 'image', bytes: Buffer.alloc(0), code: 'empty' },
    { kind: 'image', bytes: Buffer.from('not a picture at all'), code: 'unsupported' },
    { kind: 'image', bytes: await readFile(await samples.clip()), code: 'type_mismatch' },
    { kind: 'video', bytes: (await readFile(await samples.clip())).subarray(0, 20_000), code: 'corrupt' },
    { kind: 'video', bytes: await readFile(await samples.voiceNote()), code: 'type_mismatch' },
    { kind: 'audio', bytes: Buffer.from('%PDF-1.4 not a sound'), code: 'type_mismatch' },
  ] as const;
  for (const { kind, bytes, code } of cases) {
    const sent = await message(bytes);
    const failure = await sent[kind]().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(PermanentFailure);
    expect((await sent.row()).media_metadata).toMatchObject({ processing: { state: 'failed', code } });
    expect((await sent.objects()).size).toBe(0);
  }
});

test('a message that was deleted, even while its media were made, keeps nothing', async () => {
  const { image, objects, messageId } = await message(
    await sharp({ create: { width: 50, height: 50, channels: 3, background: 'red' } })
      .png()
      .toBuffer(),
  );
  const complete = ports.messages.complete;
  const deleteFirst: typeof complete = async (id, media) => {
    await database.query('UPDATE messages SET deleted_at = now() WHERE id = $1', [id]);
    return complete(id, media);
  };
  Object.assign(ports.messages, { complete: deleteFirst });
  try {
    expect(await image()).toMatchObject({ status: 'skipped', reason: 'message_deleted' });
  } finally {
    Object.assign(ports.messages, { complete });
  }
  expect((await objects()).size).toBe(0);
  expect(await image()).toMatchObject({ status: 'skipped', reason: 'message_deleted' });
  await database.query('DELETE FROM messages WHERE id = $1', [messageId]);
  expect(await image()).toMatchObject({ status: 'skipped', reason: 'message_missing' });
});

test('characters that Postgres cannot store do not keep a reason from the row', async () => {
  const { messageId, row } = await message(undefined);
  await ports.messages.fail(messageId, {
    state: 'failed',
    pipelineVersion: 1,
    sourceKey: 'a\0b\\u0000',
    code: 'corrupt',
    class: 'permanent',
    reason: 'half \ud800',
  });
  expect((await row()).media_metadata).toMatchObject({ processing: { sourceKey: 'a\ufffdb\\u0000', reason: 'half \ufffd' } });
});

test('no work in progress is left on the disk', async () => {
  const root = join(samples.folder, 'scratch');
  const [own] = await readdir(root);
  expect(await readdir(join(root, own ?? ''))).toEqual([]);
});

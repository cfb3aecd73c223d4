import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { events } from '@backhaul/events';
import { sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type World, createWorld } from './world.ts';

const run = promisify(execFile);
const DAY_MS = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * DAY_MS);

let world: World;
let folder: string;

beforeAll(async () => {
  const stack = sharedStack();
  world = await createWorld(stack.env, stack.fakes);
  folder = await mkdtemp(join(tmpdir(), 'backhaul-flow-'));
  await world.fleet({ services: ['bridge', 'media-worker', 'notification-worker', 'cleanup-worker'] });
});

afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

/** Makes a file with ffmpeg and uploads it where a chat backend would. */
async function upload(name: string, args: readonly string[]): Promise<string> {
  const file = join(folder, name);
  await run('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args, file]);
  const key = `uploads/${world.id}/${name}`;
  await world.store.put(key, await readFile(file), { contentType: 'application/octet-stream' });
  return key;
}

/** The message's row after the worker wrote to it. */
async function messageRow(id: string) {
  const { rows } = await world.database.query<{ media_url: string | null; thumbnail_url: string | null; media_metadata: Record<string, unknown> | null }>(
    'SELECT media_url, thumbnail_url, media_metadata FROM messages WHERE id = $1',
    [id],
  );
  const [row] = rows;
  if (row === undefined) throw new Error(`no message ${id}`);
  return row;
}

/** What an object really is, by ffprobe. */
async function probe(url: string | null): Promise<{ format: string; codecs: string[]; width: number | undefined; height: number | undefined; bytes: Buffer }> {
  const key = world.store.keyOf(url ?? '');
  if (key === undefined) throw new Error(`${url} is not an address of the bucket`);
  const { body } = await world.store.get(key, { maxBytes: 50 * 1024 * 1024 });
  const file = join(folder, randomUUID());
  await writeFile(file, body);
  const { stdout } = await run('ffprobe', ['-v', 'error', '-print_format', 'json', '-show_format', '-show_streams', file]);
  const { format, streams } = JSON.parse(stdout) as { format: { format_name: string }; streams: { codec_name: string; width?: number; height?: number }[] };
  const picture = streams.find((stream) => stream.width !== undefined);
  return { format: format.format_name, codecs: streams.map((stream) => stream.codec_name), width: picture?.width, height: picture?.height, bytes: body };
}

describe('media', () => {
  test('media.image: a picture gets its variants and the message points at them', async () => {
    const s3Key = await upload('photo.jpg', ['-f', 'lavfi', '-i', 'testsrc2=s=1600x1200:d=1', '-frames:v', '1']);
    const message = await world.message();
    const id = await world.publish('media.image', { type: 'image', s3Key, userId: randomUUID(), messageId: message, originalName: 'photo.jpg' });

    expect(await world.ended(id)).toMatchObject({ status: 'done', queue: 'media', attempts: 1 });
    const row = await messageRow(message);
    expect(await probe(row.media_url)).toMatchObject({ width: 1600, height: 1200 });
    expect(Math.max((await probe(row.thumbnail_url)).width ?? 0)).toBe(320);
    expect(row.media_metadata).toMatchObject({ processing: { state: 'done' } });
  });

  test('media.video: a video becomes an H.264 mp4 that starts at once, with a poster', async () => {
    const s3Key = await upload('clip.mkv', [
      '-f',
      'lavfi',
      '-i',
      'testsrc2=s=320x240:r=15:d=1',
      '-f',
      'lavfi',
      '-i',
      'sine=d=1',
      '-c:v',
      'mpeg4',
      '-c:a',
      'libmp3lame',
    ]);
    const message = await world.message();
    const id = await world.publish('media.video', { type: 'video', s3Key, userId: randomUUID(), messageId: message });

    expect(await world.ended(id)).toMatchObject({ status: 'done' });
    const row = await messageRow(message);
    const video = await probe(row.media_url);
    expect(video.codecs).toEqual(['h264', 'aac']);
    expect(video.bytes.indexOf('moov')).toBeLessThan(video.bytes.indexOf('mdat'));
    expect((await probe(row.thumbnail_url)).width).toBeGreaterThan(0);
    expect(row.media_metadata).toMatchObject({ width: 320, height: 240 });
  });

  test('media.audio: a voice note becomes an MP3 with duration and waveform', async () => {
    const s3Key = await upload('note.ogg', ['-f', 'lavfi', '-i', 'sine=frequency=300:d=2', '-c:a', 'libopus']);
    const message = await world.message();
    const id = await world.publish('media.audio', { type: 'audio', s3Key, userId: randomUUID(), messageId: message });

    expect(await world.ended(id)).toMatchObject({ status: 'done' });
    const row = await messageRow(message);
    expect((await probe(row.media_url)).codecs).toEqual(['mp3']);
    const metadata = row.media_metadata as { durationMs: number; waveform: { peaks: string } };
    expect(metadata.durationMs).toBeGreaterThan(1_900);
    expect(metadata.durationMs).toBeLessThan(2_200);
    expect(Buffer.from(metadata.waveform.peaks, 'base64').length).toBeGreaterThan(10);
  });

  test('A picture that is no picture is a dead letter with its reason, at once', async () => {
    const key = `uploads/${world.id}/broken.jpg`;
    await world.store.put(key, Buffer.from('this is no picture at all'), { contentType: 'image/jpeg' });
    const id = await world.publish('media.image', { type: 'image', s3Key: key, userId: randomUUID(), messageId: await world.message() });

    expect(await world.ended(id)).toMatchObject({ status: 'dead', attempts: 1 });
    const [letter] = await world.deadLetters.list({ limit: 1, queue: 'media' });
    expect(letter).toMatchObject({ messageId: id, source: 'worker' });
  });
});

describe('notification', () => {
  const userId = randomUUID();

  test('notification.push: one push reaches the device', async () => {
    const fcmToken = `token-${randomUUID()}`;
    const id = await world.publish('notification.push', { type: 'push', userId, title: 'Family', body: 'Hello', fcmToken, data: { chatId: '42' } });
    expect(await world.ended(id)).toMatchObject({ status: 'done' });
    expect(await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken })).toHaveLength(1);
  });

  test('notification.email: one mail with text and HTML reaches the mailbox', async () => {
    const email = `someone-${world.id}@example.com`;
    const id = await world.publish('notification.email', { type: 'email', userId, title: 'Welcome', body: 'Hello <b>there</b>', email });
    expect(await world.ended(id)).toMatchObject({ status: 'done' });
    expect(await world.fakes.effects({ service: 'smtp', kind: 'mail', key: email })).toHaveLength(1);
  });

  test('notification.sms: one text message reaches the phone', async () => {
    const phoneNumber = '+4915112345678';
    const id = await world.publish('notification.sms', { type: 'sms', userId, title: 'Code', body: '123456', phoneNumber });
    expect(await world.ended(id)).toMatchObject({ status: 'done' });
    expect(await world.fakes.effects({ service: 'sms', kind: 'sms', key: phoneNumber })).toHaveLength(1);
  });

  test('notification.withdraw: the device is told what to clear, and what is withdrawn is not pushed', async () => {
    const fcmToken = `token-${randomUUID()}`;
    const reader = randomUUID();
    const withdrawal = { type: 'withdraw', userId: reader, reason: 'deleted', chatId: '42', chatMessageIds: ['m-1'], fcmToken };
    expect(await world.ended(await world.publish('notification.withdraw', withdrawal))).toMatchObject({ status: 'done', result: { cleared: 'sent' } });
    const message = { type: 'push', userId: reader, title: 'Family', body: 'Hello', fcmToken, category: 'message', chatId: '42', chatMessageId: 'm-1' };
    expect(await world.ended(await world.publish('notification.push', message))).toMatchObject({ status: 'skipped', result: { reason: 'withdrawn' } });
    const pushes = await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken });
    expect(pushes).toMatchObject([{ message: { data: { clear: 'deleted', chatMessageIds: '["m-1"]' } } }]);
  });

  test('Of several messages of a chat the first is one push and the others are another', async () => {
    const fcmToken = `token-${randomUUID()}`;
    const message = { type: 'push', userId: randomUUID(), title: 'Family', body: 'Hello', fcmToken, category: 'message', chatId: '42' };
    const first = await world.ended(await world.publish('notification.push', message));
    const ids = await Promise.all([1, 2, 3].map(() => world.publish('notification.push', message)));
    const others = await Promise.all(ids.map((id) => world.ended(id)));
    expect(first.result).toMatchObject({ rule: 'sent' });
    expect(others.map(({ status }) => status).toSorted()).toEqual(['done', 'skipped', 'skipped']);
    const pushes = await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken });
    expect(pushes).toMatchObject([{ message: { notification: { body: 'Hello' } } }, { message: { notification: { body: '3 new messages in Family' } } }]);
  });

  test('Each is logged in notifications', async () => {
    const { rows } = await world.database.query<{ type: string; success: boolean }>(
      'SELECT type, success FROM notifications WHERE user_id = $1 ORDER BY type',
      [userId],
    );
    expect(rows).toEqual([
      { type: 'email', success: true },
      { type: 'push', success: true },
      { type: 'sms', success: true },
    ]);
  });
});

describe('cleanup', () => {
  const count = async (sql: string) => (await world.database.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${sql}`)).rows[0]?.n;

  test('cleanup.stories: expired stories go with their media, fresh ones stay', async () => {
    const key = `uploads/${world.id}/story.jpg`;
    await world.store.put(key, Buffer.from('story'), { contentType: 'image/jpeg' });
    await world.database.query('INSERT INTO stories (user_id, media_url, created_at) VALUES ($1, $2, $3), ($1, NULL, now())', [
      randomUUID(),
      world.store.publicUrl(key),
      ago(2),
    ]);
    expect(await world.ended(await world.publish('cleanup.stories', { type: 'stories' }))).toMatchObject({ status: 'done' });
    expect(await count('stories')).toBe(1);
    expect(await world.store.head(key)).toBeUndefined();
  });

  test('cleanup.sessions: sessions that nobody used for long go', async () => {
    await world.database.query('INSERT INTO user_sessions (user_id, device_id, last_active_at, is_active) VALUES ($1, $2, $3, true), ($1, $2, now(), true)', [
      randomUUID(),
      randomUUID(),
      ago(90),
    ]);
    expect(await world.ended(await world.publish('cleanup.sessions', { type: 'sessions' }))).toMatchObject({ status: 'done' });
    expect(await count('user_sessions')).toBe(1);
  });

  test('cleanup.messages: messages deleted long ago go for good', async () => {
    const old = await world.message({ deletedAt: ago(90) });
    const recent = await world.message({ deletedAt: ago(1) });
    expect(await world.ended(await world.publish('cleanup.messages', { type: 'messages' }))).toMatchObject({ status: 'done' });
    expect(await count(`messages WHERE id = '${old}'`)).toBe(0);
    expect(await count(`messages WHERE id = '${recent}'`)).toBe(1);
  });

  test('cleanup.temp_files: forgotten files go', async () => {
    const key = `temp/${world.id}/upload.part`;
    await world.store.put(key, Buffer.from('part'), { contentType: 'application/octet-stream' });
    await world.database.query('INSERT INTO temporary_files (file_path, created_at) VALUES ($1, $2)', [key, ago(3)]);
    expect(await world.ended(await world.publish('cleanup.temp_files', { type: 'temp_files' }))).toMatchObject({ status: 'done' });
    expect(await count('temporary_files')).toBe(0);
    expect(await world.store.head(key)).toBeUndefined();
  });

  test('cleanup.prekeys: used prekeys go', async () => {
    await world.database.query(
      "INSERT INTO user_prekeys (user_id, prekey_id, public_key, used_at, created_at) VALUES ($1, 1, 'a', $2, $2), ($1, 2, 'b', NULL, now())",
      [randomUUID(), ago(60)],
    );
    expect(await world.ended(await world.publish('cleanup.prekeys', { type: 'prekeys' }))).toMatchObject({ status: 'done' });
    expect(await count('user_prekeys')).toBe(1);
  });

  test('cleanup.orphaned_media: processed media whose message is gone goes', async () => {
    const gone = `media/${randomUUID()}/v1-0000000000000000/full.webp`;
    const kept = `media/${await world.message()}/v1-0000000000000000/full.webp`;
    for (const key of [gone, kept]) await world.store.put(key, Buffer.from('picture'), { contentType: 'image/webp' });
    expect(await world.ended(await world.publish('cleanup.orphaned_media', { type: 'orphaned_media', data: { olderThanHours: 0 } }))).toMatchObject({
      status: 'done',
    });
    expect(await world.store.head(gone)).toBeUndefined();
    expect(await world.store.head(kept)).toBeDefined();
  });
});

test('Every event has a flow test in this file', async () => {
  const source = await readFile(new URL(import.meta.url), 'utf8');
  for (const { routingKey } of events) expect(source).toContain(`test('${routingKey}:`);
});

describe('what is not quite an event', () => {
  test('The same message published three times is one job and one effect', async () => {
    const fcmToken = `token-${randomUUID()}`;
    const body = { type: 'push', userId: randomUUID(), title: 'Once', body: 'only', fcmToken };
    const id = await world.publish('notification.push', body);
    await world.publish('notification.push', body, id);
    await world.ended(id);
    await world.publish('notification.push', body, id);
    // A later message on the same queue has passed the bridge behind the repeat.
    await world.ended(await world.publish('notification.push', { ...body, fcmToken: `other-${fcmToken}` }));
    expect(await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken })).toHaveLength(1);
  });

  test('The same id with another body is a dead letter id_conflict, and the first one counts', async () => {
    const fcmToken = `token-${randomUUID()}`;
    const body = { type: 'push', userId: randomUUID(), title: 'First', body: 'x', fcmToken };
    const id = await world.publish('notification.push', body);
    await world.publish('notification.push', { ...body, title: 'Second' }, id);
    await world.ended(id);
    await world.ended(await world.publish('notification.push', { ...body, fcmToken: `other-${fcmToken}` }));
    expect(await world.fakes.effects({ service: 'fcm', kind: 'push', key: fcmToken })).toHaveLength(1);
    expect((await world.deadLetters.list({ limit: 50 })).filter((letter) => letter.messageId === id)).toMatchObject([
      { reason: 'id_conflict', source: 'bridge' },
    ]);
  });

  test('Poison becomes dead letters with reason and head, and its neighbours go on', async () => {
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    const poisons: [string, unknown, string][] = [
      ['media.image', 'not json', 'invalid_json'],
      ['media.image', { type: 'image', s3Key: 7 }, 'schema'],
      ['media.hologram', { type: 'hologram' }, 'unknown_type'],
      ['media.image', Buffer.alloc(600 * 1024, 0x20), 'too_large'],
      ['media.image', deep, 'too_deep'],
      ['media.image', '{"type":"image","__proto__":{"polluted":true}}', 'forbidden_key'],
      ['media.image', '{"type":"image","s3Key":"a\\u0000b"}', 'forbidden_text'],
    ];
    const ids: string[] = [];
    for (const [routingKey, body] of poisons) ids.push(await world.publish(routingKey, body));
    const neighbour = await world.publish('media.image', {
      type: 'image',
      s3Key: 'uploads/nothing-here',
      userId: randomUUID(),
      messageId: await world.message(),
    });
    await world.ended(neighbour);

    const letters = new Map((await world.deadLetters.list({ limit: 200 })).map((letter) => [letter.messageId, letter]));
    expect(ids.map((id) => letters.get(id)?.reason)).toEqual(poisons.map(([, , reason]) => reason));
    expect(letters.get(ids[0] ?? '')?.bodyHead?.toString()).toBe('not json');
  });
});

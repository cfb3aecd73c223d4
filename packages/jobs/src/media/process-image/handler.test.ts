import { TimedOut } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import { processImageHandler } from './handler.ts';

const payload = { type: 'image', s3Key: 'uploads/a.jpg', userId: 'u', messageId: MESSAGE } as const;

function worldWith(upload: string | undefined) {
  const world = inMemoryWorld();
  if (upload !== undefined) world.uploads.set(payload.s3Key, upload);
  return world;
}

test('a picture gets three sizes, and the row names the largest and the smallest', async () => {
  const world = worldWith('jpeg:holiday');
  const percents: number[] = [];
  const outcome = await processImageHandler(payload, world.context({ progress: (percent) => percents.push(percent) }));
  expect(outcome).toMatchObject({ status: 'done', result: { kind: 'image', reused: false, width: 4000, height: 2000 } });
  const row = world.rows.get(MESSAGE);
  const prefix = `https://media.example/media/${MESSAGE}/v1-`;
  expect(row?.mediaUrl).toMatch(new RegExp(`^${prefix}[0-9a-f]{16}/full\\.webp$`));
  expect(row?.thumbnailUrl).toMatch(new RegExp(`^${prefix}[0-9a-f]{16}/thumb\\.webp$`));
  expect(row?.metadata).toMatchObject({
    kind: 'image',
    processing: { state: 'done', pipelineVersion: 1, sourceKey: payload.s3Key },
    source: { format: 'jpeg', sizeBytes: 12 },
    variants: { full: { width: 2048, height: 1024, contentType: 'image/webp' }, medium: { width: 1024 }, thumb: { width: 320 } },
  });
  expect([...world.stored.keys()]).toHaveLength(3);
  expect(percents).toEqual([...percents].toSorted((a, b) => a - b));
  expect(percents.at(-1)).toBe(100);
});

test('run twice, the same result, and the second time nothing is decoded', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const before = structuredClone({ row: world.rows.get(MESSAGE), stored: world.stored });
  const second = await processImageHandler(payload, world.context({ attempt: 2 }));
  expect(second).toMatchObject({ status: 'done', result: { reused: true } });
  expect({ row: world.rows.get(MESSAGE), stored: world.stored }).toEqual(before);
  expect(world.decodes).toBe(1);
});

test('a run that died between the store and the row is finished by the next', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const row = structuredClone(world.rows.get(MESSAGE));
  const stored = structuredClone(world.stored);
  world.rows.set(MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context({ attempt: 2 }))).toMatchObject({ status: 'done', result: { reused: false } });
  expect(world.rows.get(MESSAGE)).toEqual(row);
  expect(world.stored).toEqual(stored);
});

test('outputs that were lost are made again', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  world.stored.clear();
  expect(await processImageHandler(payload, world.context())).toMatchObject({ result: { reused: false } });
  expect(world.stored.size).toBe(3);
});

test('another picture for the same message lies beside the first, which clients may have cached', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const first = world.rows.get(MESSAGE)?.mediaUrl;
  world.uploads.set(payload.s3Key, 'jpeg:another');
  await processImageHandler(payload, world.context());
  expect(world.rows.get(MESSAGE)?.mediaUrl).not.toBe(first);
  expect(world.stored.size).toBe(6);
});

test('a replay after the upload was cleaned away finds what was made of it', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  world.uploads.clear();
  expect(await processImageHandler(payload, world.context())).toMatchObject({ status: 'done', result: { reused: true } });
});

test('nothing is done for a message that is deleted or was never there', async () => {
  const world = worldWith('jpeg:holiday');
  world.rows.set(MESSAGE, { deleted: true, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context())).toEqual({ status: 'skipped', reason: 'message_deleted' });
  world.rows.clear();
  expect(await processImageHandler(payload, world.context())).toEqual({ status: 'skipped', reason: 'message_missing' });
  expect(world.decodes).toBe(0);
});

test('outputs are removed again when the message is deleted while they are made', async () => {
  const world = worldWith('jpeg:holiday');
  world.meanwhile = () => world.rows.set(MESSAGE, { deleted: true, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context())).toEqual({ status: 'skipped', reason: 'message_deleted' });
  expect(world.stored.size).toBe(0);
  world.rows.set(MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null });
  world.meanwhile = () => world.rows.clear();
  expect(await processImageHandler(payload, world.context())).toEqual({ status: 'skipped', reason: 'message_missing' });
  expect(world.stored.size).toBe(0);
});

test.each([
  [undefined, 'source_missing'],
  ['', 'empty'],
  ['jpeg:'.padEnd(101, 'x'), 'too_large'],
  ['mystery', 'unsupported'],
  ['heic:holiday', 'unsupported_heic'],
  ['mp4:clip', 'type_mismatch'],
  ['other:document', 'type_mismatch'],
  ['jpeg:broken', 'corrupt'],
])('an upload %j is refused as %s, and the row says why', async (upload, code) => {
  const world = worldWith(upload);
  expect(await failureOf(processImageHandler(payload, world.context()))).toBe(code);
  expect(world.rows.get(MESSAGE)).toMatchObject({ mediaUrl: null, metadata: { processing: { state: 'failed', code, reason: expect.any(String) as string } } });
});

test('an upload and a row that are a moment late are waited for', async () => {
  const world = worldWith(undefined);
  const row = world.rows.get(MESSAGE);
  world.rows.clear();
  const { find } = world.ports.messages;
  const { read } = world.ports.originals;
  let asked = 0;
  const ports = {
    ...world.ports,
    limits: { ...world.ports.limits, graceMs: 30_000 },
    messages: {
      ...world.ports.messages,
      find: (id: string) => {
        if ((asked += 1) === 2 && row !== undefined) world.rows.set(MESSAGE, row);
        return find(id);
      },
    },
    originals: {
      ...world.ports.originals,
      read: (...args: Parameters<typeof read>) => {
        if ((asked += 1) === 4) world.uploads.set(payload.s3Key, 'jpeg:late');
        return read(...args);
      },
    },
  };
  expect(await processImageHandler(payload, world.context({ ports }))).toMatchObject({ status: 'done' });
});

test('a job that is taken away publishes nothing and notes nothing', async () => {
  const world = worldWith('jpeg:holiday');
  const cancel = new AbortController();
  world.meanwhile = () => cancel.abort(new Error('lock lost'));
  await expect(processImageHandler(payload, world.context({ signal: cancel.signal }))).rejects.toThrow('lock lost');
  expect(world.rows.get(MESSAGE)).toMatchObject({ mediaUrl: null, metadata: null });
  expect(world.stored.size).toBe(0);
});

test('the row is told when the last try failed too, but not before', async () => {
  const world = worldWith('jpeg:holiday');
  world.meanwhile = () => {
    throw new Error('the disk is full');
  };
  await expect(processImageHandler(payload, world.context())).rejects.toThrow('the disk is full');
  expect(world.rows.get(MESSAGE)?.metadata).toBeNull();
  await expect(processImageHandler(payload, world.context({ lastTry: true }))).rejects.toThrow('the disk is full');
  expect(world.rows.get(MESSAGE)?.metadata).toMatchObject({ processing: { state: 'failed', code: 'unavailable' } });
  const late = AbortSignal.abort(new TimedOut(60_000));
  await expect(processImageHandler(payload, world.context({ lastTry: true, signal: late }))).rejects.toThrow();
  expect(world.rows.get(MESSAGE)?.metadata).toMatchObject({ processing: { code: 'timeout' } });
});

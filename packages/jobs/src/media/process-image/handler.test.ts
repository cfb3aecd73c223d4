import { PermanentFailure, TimedOut } from '@backhaul/queue/job';
import { expect, test } from 'vitest';
import { MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import type { MediaMetadata } from '../metadata.ts';
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
  const prefix = `https://media.example/media/${MESSAGE}/v2-`;
  expect(row?.mediaUrl).toMatch(new RegExp(`^${prefix}[0-9a-f]{16}/full\\.webp$`));
  expect(row?.thumbnailUrl).toMatch(new RegExp(`^${prefix}[0-9a-f]{16}/thumb\\.webp$`));
  expect(row?.metadata).toMatchObject({
    kind: 'image',
    processing: { state: 'done', pipelineVersion: 2, sourceKey: payload.s3Key },
    source: { format: 'jpeg', sizeBytes: 12 },
    variants: { full: { width: 2048, height: 1024, contentType: 'image/webp' }, medium: { width: 1024 }, thumb: { width: 320 } },
  });
  expect([...world.stored.keys()].map((key) => key.split('/').at(-1))).toEqual(['facts.json', 'full.webp', 'medium.webp', 'thumb.webp']);
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

test('a run that died between the store and the row is finished by the next, which makes nothing anew', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const row = structuredClone(world.rows.get(MESSAGE));
  const stored = structuredClone(world.stored);
  world.rows.set(MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context({ attempt: 2 }))).toMatchObject({ status: 'done', result: { reused: true } });
  expect(world.rows.get(MESSAGE)).toEqual(row);
  expect(world.stored).toEqual(stored);
  expect(world.decodes).toBe(1);
});

test('of outputs that were lost or never stored only those are made again', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const complete = structuredClone(world.stored);
  const row = structuredClone(world.rows.get(MESSAGE));
  for (const [key] of world.stored) if (key.endsWith('medium.webp')) world.stored.delete(key);
  const written: string[] = [];
  const { store } = world.ports.derivatives;
  const derivatives = {
    ...world.ports.derivatives,
    store: (...args: Parameters<typeof store>) => {
      written.push(args[0].split('/').at(-1) ?? '');
      return store(...args);
    },
  };
  expect(await processImageHandler(payload, world.context({ ports: { ...world.ports, derivatives } }))).toMatchObject({ result: { reused: false } });
  expect(written).toEqual(['medium.webp']);
  expect(Object.fromEntries(world.stored)).toEqual(Object.fromEntries(complete));
  expect(world.rows.get(MESSAGE)).toEqual(row);
});

test('an output that is lost after the format was set differently brings the others anew, too', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  for (const key of world.stored.keys()) if (key.endsWith('medium.webp')) world.stored.delete(key);
  const { render } = world.ports.images;
  const images = {
    ...world.ports.images,
    render: async (...args: Parameters<typeof render>) => {
      const image = await render(...args);
      return { ...image, variants: image.variants.map((variant) => ({ ...variant, contentType: 'image/jpeg', extension: 'jpg' })) };
    },
  };
  await processImageHandler(payload, world.context({ ports: { ...world.ports, images } }));
  const metadata = world.rows.get(MESSAGE)?.metadata as MediaMetadata | undefined;
  const variants = metadata?.variants ?? {};
  expect(Object.values(variants).map(({ key, contentType }) => [key.split('/').at(-1), contentType])).toEqual([
    ['full.jpg', 'image/jpeg'],
    ['medium.jpg', 'image/jpeg'],
    ['thumb.jpg', 'image/jpeg'],
  ]);
  expect(Object.values(variants).every(({ key }) => world.stored.has(key))).toBe(true);
});

test('a first try after the run of another event, which did not come to its end, goes on from there', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const complete = structuredClone(world.stored);
  const row = structuredClone(world.rows.get(MESSAGE));
  for (const key of world.stored.keys()) if (key.endsWith('medium.webp')) world.stored.delete(key);
  world.rows.set(MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null });
  const { render } = world.ports.images;
  const images = {
    ...world.ports.images,
    // Set to another width since, which the outputs that are stored do not have.
    render: async (...args: Parameters<typeof render>) => ({ ...(await render(...args)), width: 1 }),
  };
  expect(await processImageHandler(payload, world.context({ attempt: 1, ports: { ...world.ports, images } }))).toMatchObject({ status: 'done' });
  expect(Object.fromEntries(world.stored)).toEqual(Object.fromEntries(complete));
  expect(world.rows.get(MESSAGE)).toEqual(row);
});

test('facts that cannot be read are no reason to fail', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  for (const [key, { contentType }] of world.stored) if (key.endsWith('facts.json')) world.stored.set(key, { text: '{"format":', contentType });
  world.rows.set(MESSAGE, { deleted: false, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context())).toMatchObject({ status: 'done', result: { width: 4000 } });
});

test('a duplicate waits while another job works on the same message', async () => {
  const world = worldWith('jpeg:holiday');
  await using held = await world.ports.messages.hold(MESSAGE).then((hold) => (hold === 'taken' ? undefined : hold));
  expect(held).toBeDefined();
  await expect(processImageHandler(payload, world.context())).rejects.toMatchObject({ code: 'message_busy', delayMs: 5_000 });
  expect(world.rows.get(MESSAGE)?.metadata).toBeNull();
  await held?.[Symbol.asyncDispose]();
  expect(await processImageHandler(payload, world.context())).toMatchObject({ status: 'done' });
  expect(await processImageHandler(payload, world.context())).toMatchObject({ result: { reused: true } });
});

test('an upload that is replaced while it is worked on fails as such, and nothing is published', async () => {
  const world = worldWith('jpeg:holiday');
  world.meanwhile = () => world.uploads.set(payload.s3Key, 'jpeg:another');
  expect(await failureOf(processImageHandler(payload, world.context()))).toBe('source_changed');
  expect(world.rows.get(MESSAGE)).toMatchObject({ mediaUrl: null, metadata: { processing: { state: 'failed', code: 'source_changed', class: 'permanent' } } });
  expect(world.stored.size).toBe(0);
});

test('an upload that is cleaned away while it is worked on is done all the same', async () => {
  const world = worldWith('jpeg:holiday');
  world.meanwhile = () => world.uploads.clear();
  expect(await processImageHandler(payload, world.context())).toMatchObject({ status: 'done' });
});

test('what a run left behind is removed when its message is deleted', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  world.stored.set('media/another-message/v2-0/full.webp', { text: 'not ours', contentType: 'image/webp' });
  world.rows.set(MESSAGE, { deleted: true, mediaUrl: null, thumbnailUrl: null, metadata: null });
  expect(await processImageHandler(payload, world.context())).toEqual({ status: 'skipped', reason: 'message_deleted' });
  expect([...world.stored.keys()]).toEqual(['media/another-message/v2-0/full.webp']);
});

test('another picture for the same message lies beside the first, which clients may have cached', async () => {
  const world = worldWith('jpeg:holiday');
  await processImageHandler(payload, world.context());
  const first = world.rows.get(MESSAGE)?.mediaUrl;
  world.uploads.set(payload.s3Key, 'jpeg:another');
  await processImageHandler(payload, world.context());
  expect(world.rows.get(MESSAGE)?.mediaUrl).not.toBe(first);
  expect(world.stored.size).toBe(8);
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
  ['mp4:clip', 'type_mismatch'],
  ['other:document', 'type_mismatch'],
  ['jpeg:broken', 'corrupt'],
])('an upload %j is refused as %s, and the row says why', async (upload, code) => {
  const world = worldWith(upload);
  expect(await failureOf(processImageHandler(payload, world.context()))).toBe(code);
  expect(world.rows.get(MESSAGE)).toMatchObject({
    mediaUrl: null,
    metadata: { processing: { state: 'failed', code, class: 'permanent', reason: expect.any(String) as string } },
  });
});

test('an upload and a row that are a moment late are waited for', async () => {
  const world = worldWith(undefined);
  const row = world.rows.get(MESSAGE);
  world.rows.clear();
  const { find } = world.ports.messages;
  const { open } = world.ports.originals;
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
      open: (...args: Parameters<typeof open>) => {
        asked += 1;
        // First nothing, then an upload that has only begun.
        if (asked === 4) world.uploads.set(payload.s3Key, '');
        if (asked === 5) world.uploads.set(payload.s3Key, 'jpeg:late');
        return open(...args);
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
  expect(world.rows.get(MESSAGE)?.metadata).toMatchObject({ processing: { state: 'failed', code: 'unavailable', class: 'transient' } });
  const late = AbortSignal.abort(new TimedOut(60_000));
  await expect(processImageHandler(payload, world.context({ lastTry: true, signal: late }))).rejects.toThrow();
  expect(world.rows.get(MESSAGE)?.metadata).toMatchObject({ processing: { code: 'timeout' } });
});

/** A world in which uploads are animated GIFs, which become MP4s as well. */
function worldOfAnimations(toMp4?: () => Promise<never>) {
  const world = worldWith('jpeg:dancing cat');
  const { images, videos, settings } = world.ports;
  const ports = {
    ...world.ports,
    formats: { sniff: async () => 'gif' as const },
    images: { ...images, render: async (...args: Parameters<typeof images.render>) => ({ ...(await images.render(...args)), animated: true }) },
    videos: toMp4 === undefined ? videos : { ...videos, toMp4 },
    settings: { ...settings, animatedGifToMp4: true },
  };
  return { world, ports, files: () => [...world.stored.keys()].map((key) => key.split('/').at(-1)) };
}

test('an animated GIF becomes an MP4 as well, where that is asked for', async () => {
  const { world, ports, files } = worldOfAnimations();
  await processImageHandler(payload, world.context({ ports }));
  expect(files()).toContain('video.mp4');
  const metadata = world.rows.get(MESSAGE)?.metadata;
  expect(metadata).toMatchObject({ animated: true, processing: { warnings: [] }, variants: { video: { contentType: 'video/mp4', width: 720, height: 1280 } } });
  expect(world.rows.get(MESSAGE)?.mediaUrl).toMatch(/full\.webp$/);

  // Only the lost one is made again, without the pictures.
  const key = [...world.stored.keys()].find((stored) => stored.endsWith('video.mp4')) ?? '';
  const before = world.stored.get(key);
  world.stored.delete(key);
  world.decodes = 0;
  await processImageHandler(payload, world.context({ ports, attempt: 2 }));
  expect(world.stored.get(key)).toEqual(before);
  expect(world.decodes).toBe(1);
});

test('a GIF that stands still, or nobody asks an MP4 of, gets none', async () => {
  const { world, ports, files } = worldOfAnimations(() => Promise.reject(new Error('must not be called')));
  await processImageHandler(payload, world.context({ ports: { ...ports, images: world.ports.images } }));
  expect(files()).not.toContain('video.mp4');
  await processImageHandler(payload, world.context({ ports: { ...ports, settings: world.ports.settings } }));
  expect(files()).not.toContain('video.mp4');
});

test('an animation that cannot become an MP4 is shown without, with a warning; what may pass is tried again', async () => {
  const { world, ports } = worldOfAnimations(() => Promise.reject(new PermanentFailure('crashed', 'the encoder died')));
  expect(await processImageHandler(payload, world.context({ ports }))).toMatchObject({ status: 'done', result: { warnings: ['animation_not_video'] } });
  const busy = worldOfAnimations(() => Promise.reject(new Error('no room')));
  await expect(processImageHandler(payload, busy.world.context({ ports: busy.ports }))).rejects.toThrow('no room');
});

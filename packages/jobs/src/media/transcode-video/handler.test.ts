import { expect, test } from 'vitest';
import { MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import { transcodeVideoHandler } from './handler.ts';

const payload = { type: 'video', s3Key: 'uploads/a.mov', userId: 'u', messageId: MESSAGE } as const;

test('a video and its poster are stored, and the row tells how it plays', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'mp4:clip');
  const percents: number[] = [];
  const outcome = await transcodeVideoHandler(payload, world.context({ progress: (percent) => percents.push(percent) }));
  expect(outcome).toMatchObject({ status: 'done', result: { kind: 'video', road: 'transcode', durationMs: 2_000 } });
  expect(world.rows.get(MESSAGE)).toMatchObject({
    mediaUrl: expect.stringMatching(/\/video\.mp4$/) as string,
    thumbnailUrl: expect.stringMatching(/\/poster\.jpg$/) as string,
    metadata: {
      kind: 'video',
      width: 720,
      height: 1280,
      durationMs: 2_000,
      hasAudio: true,
      road: 'transcode',
      videoCodec: 'h264',
      audioCodec: 'aac',
      // 17 bytes in two seconds.
      bitRate: 68,
      source: { format: 'mp4', videoCodec: 'hevc', rotation: 90, sizeBytes: 8 },
      variants: {
        video: { contentType: 'video/mp4', width: 720, height: 1280 },
        poster: { contentType: 'image/jpeg', width: 720, height: 1280 },
        thumb: { width: 180 },
      },
      waveform: { durationMs: 2_000 },
      placeholder: { thumbhash: expect.any(String) as string },
    },
  });
  expect(percents).toContain(47.5);
});

test('run twice, the same result', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'mp4:clip');
  await transcodeVideoHandler(payload, world.context());
  const before = structuredClone({ row: world.rows.get(MESSAGE), stored: world.stored });
  expect(await transcodeVideoHandler(payload, world.context())).toMatchObject({ result: { reused: true } });
  expect({ row: world.rows.get(MESSAGE), stored: world.stored }).toEqual(before);
  expect(world.decodes).toBe(1);
});

test('a picture that is sent as a video is refused', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'jpeg:holiday');
  expect(await failureOf(transcodeVideoHandler(payload, world.context()))).toBe('type_mismatch');
});

test('of a video whose still is lost only the stills are made again', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'mp4:clip');
  await transcodeVideoHandler(payload, world.context());
  const complete = structuredClone(world.stored);
  for (const key of complete.keys()) if (key.endsWith('poster.jpg')) world.stored.delete(key);
  expect(await transcodeVideoHandler(payload, world.context())).toMatchObject({ result: { reused: false } });
  expect(Object.fromEntries(world.stored)).toEqual(Object.fromEntries(complete));
  expect(world.decodes).toBe(1);
});

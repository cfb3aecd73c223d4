import { expect, test } from 'vitest';
import { MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import { transcodeVideoHandler } from './handler.ts';

const payload = { type: 'video', s3Key: 'uploads/a.mov', userId: 'u', messageId: MESSAGE } as const;

test('a video and its poster are stored, and the row tells how it plays', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'mp4:clip');
  const percents: number[] = [];
  const outcome = await transcodeVideoHandler(payload, world.context({ progress: (percent) => percents.push(percent) }));
  expect(outcome).toMatchObject({ status: 'done', result: { kind: 'video', mode: 'encoded', durationMs: 2_000 } });
  expect(world.rows.get(MESSAGE)).toMatchObject({
    mediaUrl: expect.stringMatching(/\/video\.mp4$/) as string,
    thumbnailUrl: expect.stringMatching(/\/poster\.jpg$/) as string,
    metadata: {
      kind: 'video',
      width: 720,
      height: 1280,
      durationMs: 2_000,
      hasAudio: true,
      source: { format: 'mp4', videoCodec: 'hevc', rotation: 90, sizeBytes: 8 },
      variants: { video: { contentType: 'video/mp4', width: 720, height: 1280 }, poster: { contentType: 'image/jpeg', width: 360, height: 640 } },
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

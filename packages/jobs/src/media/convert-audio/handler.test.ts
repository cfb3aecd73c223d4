import { expect, test } from 'vitest';
import { MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import { convertAudioHandler } from './handler.ts';

const payload = { type: 'audio', s3Key: 'uploads/a.ogg', userId: 'u', messageId: MESSAGE } as const;

test('a voice note becomes an MP3, with its exact length and waveform in the row', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'ogg:0.25:hello');
  expect(await convertAudioHandler(payload, world.context())).toMatchObject({ status: 'done', result: { kind: 'audio', durationMs: 250 } });
  expect(world.rows.get(MESSAGE)).toMatchObject({
    mediaUrl: expect.stringMatching(/\/audio\.mp3$/) as string,
    thumbnailUrl: null,
    metadata: {
      durationMs: 250,
      waveform: { durationMs: 250, peaks: Buffer.from([255, 255, 255]).toString('base64') },
      variants: { audio: { contentType: 'audio/mpeg' } },
    },
  });
});

test('run twice, the same result', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'ogg:1:hello');
  await convertAudioHandler(payload, world.context());
  const before = structuredClone({ row: world.rows.get(MESSAGE), stored: world.stored });
  expect(await convertAudioHandler(payload, world.context())).toMatchObject({ result: { reused: true } });
  expect({ row: world.rows.get(MESSAGE), stored: world.stored }).toEqual(before);
  expect(world.decodes).toBe(1);
});

test('a file without a single sample, and one that goes on for too long, are refused', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'ogg:0:silence');
  expect(await failureOf(convertAudioHandler(payload, world.context()))).toBe('empty');
  world.uploads.set(payload.s3Key, 'ogg:61:endless');
  expect(await failureOf(convertAudioHandler(payload, world.context()))).toBe('too_long');
});

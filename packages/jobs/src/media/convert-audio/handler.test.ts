import { expect, test } from 'vitest';
import { type InMemoryWorld, MESSAGE, failureOf, inMemoryWorld } from '../in-memory-ports.ts';
import type { WaveformExport } from '../ports.ts';
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

test("other chats' waveforms lie in the row when they are asked for, and the large one beside the sound", async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'ogg:0.25:hello');
  await convertAudioHandler(payload, exporting(world, ['discord', 'telegram', 'bbc']));
  const row = world.rows.get(MESSAGE);
  expect(row?.metadata).toMatchObject({
    waveform: {
      exports: { discord: { duration_secs: 0.25, waveform: Buffer.from([255, 255, 255]).toString('base64') }, telegram: expect.any(String) as string },
    },
    variants: {
      audio: { contentType: 'audio/mpeg' },
      waveform: { contentType: 'application/json', key: expect.stringMatching(/\/waveform\.json$/) as string },
    },
  });
  expect(row?.mediaUrl).toMatch(/audio\.mp3$/);
  expect(bbcFile(world)).toMatchObject({ version: 2, sample_rate: 8_000, length: 25 });
});

test('a lost waveform file is made again alone, also after the setting was taken back', async () => {
  const world = inMemoryWorld();
  world.uploads.set(payload.s3Key, 'ogg:0.25:hello');
  await convertAudioHandler(payload, exporting(world, ['bbc', 'whatsapp']));
  const before = structuredClone({ row: world.rows.get(MESSAGE), stored: world.stored });
  for (const key of world.stored.keys()) if (key.endsWith('waveform.json')) world.stored.delete(key);
  const storedAgain: string[] = [];
  const context = exporting(world, []);
  const { derivatives } = world.ports;
  const noting = { ...derivatives, store: (...args: Parameters<typeof derivatives.store>) => (storedAgain.push(args[0]), derivatives.store(...args)) };
  await convertAudioHandler(payload, { ...context, ports: { ...context.ports, derivatives: noting } });
  expect(storedAgain).toEqual([expect.stringMatching(/waveform\.json$/)]);
  expect(world.rows.get(MESSAGE)).toEqual(before.row);
  expect(world.stored).toEqual(before.stored);
});

function exporting(world: InMemoryWorld, waveformExports: readonly WaveformExport[]) {
  return world.context({ ports: { ...world.ports, settings: { ...world.ports.settings, waveformExports } } });
}

function bbcFile(world: InMemoryWorld): unknown {
  const [, file] = [...world.stored].find(([key]) => key.endsWith('waveform.json')) ?? [];
  return JSON.parse(file?.text ?? 'null');
}

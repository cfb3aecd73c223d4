import { loadConfig } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { ffmpegThreads, mediaWorkerConfig } from './config.ts';

const needed = {
  DATABASE_URL: 'postgres://localhost/chat',
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'key',
  AWS_SECRET_ACCESS_KEY: 'secret',
  AWS_S3_BUCKET: 'pictures',
};

test('what a deployment must set is little, and the rest has defaults', () => {
  expect(loadConfig(mediaWorkerConfig, needed)).toMatchObject({
    MEDIA_CONCURRENCY: 2,
    MEDIA_MAX_VIDEO_BYTES: 524_288_000,
    MEDIA_GRACE_MS: 2_000,
    FFMPEG_PATH: 'ffmpeg',
  });
});

test('every problem is named at once', () => {
  const load = () => loadConfig(mediaWorkerConfig, { ...needed, AWS_S3_BUCKET: '', MEDIA_MAX_IMAGE_BYTES: 'lots', FFMPEG_STALL_MS: '1' });
  expect(load).toThrow(/AWS_S3_BUCKET: is required[\s\S]*MEDIA_MAX_IMAGE_BYTES: expected a size in bytes[\s\S]*FFMPEG_STALL_MS: expected milliseconds/);
});

test("the threads of an ffmpeg are what is said, or a job's share of the cores and at least one", () => {
  expect(ffmpegThreads({ FFMPEG_THREADS: 3, MEDIA_CONCURRENCY: 2 })).toBe(3);
  expect(ffmpegThreads({ FFMPEG_THREADS: undefined, MEDIA_CONCURRENCY: 64 })).toBeGreaterThanOrEqual(1);
});

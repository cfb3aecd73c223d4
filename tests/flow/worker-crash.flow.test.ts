import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually, sharedStack } from '@backhaul/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type World, createWorld } from './world.ts';

const run = promisify(execFile);

let world: World;
let folder: string;
let s3Key: string;

beforeAll(async () => {
  const stack = sharedStack();
  world = await createWorld(stack.env, stack.fakes);
  folder = await mkdtemp(join(tmpdir(), 'backhaul-crash-'));
  // Long enough to be caught in the middle of its transcode.
  const file = join(folder, 'long.mkv');
  await run('ffmpeg', ['-nostdin', '-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=30:d=12', '-c:v', 'mpeg4', '-q:v', '3', file]);
  s3Key = `uploads/${world.id}/long.mkv`;
  await world.store.put(s3Key, { file }, { contentType: 'video/x-matroska' });
}, 120_000);

afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

/** Process ids of every ffmpeg whose command line names this folder. */
async function ffmpegIn(tempDir: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [command, cwd] = await Promise.all([
      readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
      readFile(`/proc/${pid}/environ`, 'utf8').catch(() => ''),
    ]);
    const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
    if (/(^|\/)ffmpeg\0/.test(command) && (command + cwd).includes(tempDir) && !/\) Z/.test(state)) found.push(Number(pid));
  }
  return found;
}

async function publishVideo(): Promise<{ id: string; message: string }> {
  const message = await world.message();
  return { id: await world.publish('media.video', { type: 'video', s3Key, userId: randomUUID(), messageId: message }), message };
}

async function derivativesOf(message: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of world.store.list(`media/${message}/`)) keys.push(object.key);
  return keys;
}

test('A-04: a worker killed in the middle of ffmpeg leaves no orphan, the job runs again, and there is one object', async () => {
  const tempDir = join(folder, 'kill');
  await using fleet = await world.fleet({ services: ['bridge', 'media-worker'], overrides: { 'media-worker': { MEDIA_TEMP_DIR: tempDir } } });
  const worker = fleet.get('media-worker');
  const { id, message } = await publishVideo();
  await eventually(async () => expect(await ffmpegIn(tempDir)).not.toHaveLength(0), { timeoutMs: 20_000 });
  await worker.kill('SIGKILL');
  await eventually(async () => expect(await ffmpegIn(tempDir)).toHaveLength(0), { timeoutMs: 5_000 });

  await worker.restart();
  const row = await world.ended(id);
  expect(row).toMatchObject({ status: 'done', attempts: 2, failures: 0 });
  expect((await derivativesOf(message)).filter((key) => key.endsWith('.mp4'))).toHaveLength(1);
  await fleet.stop();
  expect(await readdir(tempDir)).toEqual([]);
});

test('A-09: a worker told to stop, whose grace is shorter than the job, hands it back and exits 0', async () => {
  const tempDir = join(folder, 'term');
  await using fleet = await world.fleet({
    services: ['bridge', 'media-worker'],
    overrides: { 'media-worker': { MEDIA_TEMP_DIR: tempDir, WORKER_STOP_GRACE_MS: '200' } },
  });
  const worker = fleet.get('media-worker');
  const { id } = await publishVideo();
  await eventually(async () => expect(await ffmpegIn(tempDir)).not.toHaveLength(0), { timeoutMs: 20_000 });
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(await ffmpegIn(tempDir)).toHaveLength(0);

  await worker.restart();
  const row = await world.ended(id);
  expect(row).toMatchObject({ status: 'done', attempts: 2, failures: 0 });
  expect(row.history.map(({ event }) => event)).toEqual(['started', 'postponed', 'started', 'finished']);
});

test('A-08: a worker told to stop, whose grace is longer than the job, finishes it and exits 0', async () => {
  const tempDir = join(folder, 'finish');
  await using fleet = await world.fleet({
    services: ['bridge', 'media-worker'],
    overrides: { 'media-worker': { MEDIA_TEMP_DIR: tempDir, WORKER_STOP_GRACE_MS: '60000', SHUTDOWN_TIMEOUT_MS: '70000' } },
  });
  const worker = fleet.get('media-worker');
  const { id } = await publishVideo();
  await eventually(async () => expect(await ffmpegIn(tempDir)).not.toHaveLength(0), { timeoutMs: 20_000 });
  expect(await worker.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  expect(await world.jobs.find(id)).toMatchObject({ status: 'done', attempts: 1 });
});

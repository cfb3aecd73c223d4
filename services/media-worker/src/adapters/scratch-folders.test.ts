import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createScratchFolders } from './scratch-folders.ts';

async function root() {
  const path = await mkdtemp(join(tmpdir(), 'scratch-test-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test("a job's folder is its own, private, and gone with everything in it", async () => {
  await using dir = await root();
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: 0 });
  let path = '';
  {
    await using folder = await scratch.open({ reserveBytes: 0 });
    path = folder.path;
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await writeFile(join(path, 'original'), 'x');
  }
  expect(existsSync(path)).toBe(false);
  await scratch.close();
  expect(await readdir(dir.path)).toEqual([]);
});

test('only what dead processes of this host left is swept', async () => {
  await using dir = await root();
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: 0 });
  await using folder = await scratch.open({ reserveBytes: 0 });
  const brief = spawn('true');
  await once(brief, 'exit');
  const dead = `${hostname()}~${brief.pid}~1`;
  // The same pid, but the process that has it now started at another time: pid 1 of an earlier container.
  const reborn = `${hostname()}~${process.pid}~1`;
  const foreign = `another-host~${brief.pid}~1`;
  for (const name of [dead, reborn, foreign, 'something-else']) await mkdir(join(dir.path, name, 'job-x'), { recursive: true });
  expect(await scratch.sweep()).toBe(process.platform === 'linux' ? 2 : 1);
  const left = await readdir(dir.path);
  expect(left).toContain(foreign);
  expect(left).toContain('something-else');
  expect(left).not.toContain(dead);
  expect(existsSync(folder.path)).toBe(true);
});

test('room is reserved, so that jobs do not fill the disk together', async () => {
  await using dir = await root();
  const { bavail, bsize } = await statfs(dir.path);
  const most = Math.floor(0.6 * bavail * bsize);
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: 1_000_000 });
  // At the same moment: one gets it.
  const [first, second] = await Promise.allSettled([scratch.open({ reserveBytes: most }), scratch.open({ reserveBytes: most })]);
  const [given] = [first, second].flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const [refused] = [first, second].flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  expect(refused).toMatchObject({ name: 'TransientMediaFailure', code: 'disk_full' });
  await given?.[Symbol.asyncDispose]();
  await (await scratch.open({ reserveBytes: most }))[Symbol.asyncDispose]();
  // Whoever was refused left no folder.
  const [own] = await readdir(dir.path);
  expect(await readdir(join(dir.path, own ?? ''))).toEqual([]);
  await scratch.close();
});

test('what a job has written of its room is not counted against the others again', async () => {
  await using dir = await root();
  const sizeBytes = 96 * 1024 ** 2;
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: 0 });
  await using first = await scratch.open({ reserveBytes: sizeBytes });
  await writeFile(join(first.path, 'original'), Buffer.alloc(sizeBytes, 1));
  const { bavail, bsize } = await statfs(dir.path);
  // Half of it is left for what else this machine writes at this moment.
  await using second = await scratch.open({ reserveBytes: bavail * bsize - sizeBytes / 2 });
  expect(existsSync(second.path)).toBe(true);
});

test('a disk with less than must stay free takes no job', async () => {
  await using dir = await root();
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: Number.MAX_SAFE_INTEGER });
  await expect(scratch.open({ reserveBytes: 0 })).rejects.toMatchObject({ code: 'disk_full' });
  await scratch.close();
});

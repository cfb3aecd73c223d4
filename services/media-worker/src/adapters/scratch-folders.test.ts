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
  const half = Math.floor((bavail * bsize) / 2);
  const scratch = await createScratchFolders(dir.path, { minFreeBytes: 1_000_000 });
  const first = await scratch.open({ reserveBytes: half });
  await expect(scratch.open({ reserveBytes: half })).rejects.toMatchObject({ name: 'TransientMediaFailure', code: 'disk_full' });
  await first[Symbol.asyncDispose]();
  await (await scratch.open({ reserveBytes: half }))[Symbol.asyncDispose]();
  await scratch.close();
});

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH } from '../../sample-media.ts';
import { ChildDied, type ChildRun, runChild } from './child.ts';
import { type Toolchain, ToolchainIncomplete, findToolchain } from './toolchain.ts';

let toolchain: Toolchain;
let folder: string;
const GIB = 1024 ** 3;
const limits = { memoryBytes: 4 * GIB, cpuSeconds: 60, fileBytes: GIB };

beforeAll(async () => {
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
  folder = await mkdtemp(join(tmpdir(), 'child-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function run(script: string, options: Partial<ChildRun> = {}) {
  return runChild(toolchain, { program: 'sh', args: ['-c', script], cwd: folder, signal: new AbortController().signal, stallMs: 20_000, limits, ...options });
}

/** Never ends by itself and never stops talking. */
const ENDLESS = ['-nostdin', '-v', 'error', '-progress', 'pipe:3', '-f', 'lavfi', '-i', 'testsrc2=size=64x64', '-f', 'null', '-'];

function alive(pid: number): boolean {
  try {
    // A zombie answers to signal 0 as well; it is dead all the same.
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('the child sees none of our environment but PATH', async () => {
  let said = '';
  const exit = await run('env', { onOutput: (chunk) => (said += chunk.toString()) });
  expect(exit.exitCode).toBe(0);
  const names = said.split('\n').map((line) => line.split('=')[0]);
  // The shell adds the last two itself.
  expect(names.filter((name) => !['', 'PATH', 'LC_ALL', 'PWD', '_'].includes(name ?? ''))).toEqual([]);
});

test('an abort kills the whole group, also what ignores SIGTERM (E-15)', async () => {
  const cancel = new AbortController();
  const pids: number[] = [];
  const work = run(`trap '' TERM; sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' & echo $$; wait`, {
    signal: cancel.signal,
    onOutput(chunk) {
      pids.push(...chunk.toString().trim().split('\n').map(Number));
      if (pids.length === 2) cancel.abort(new Error('the lock was lost'));
    },
  });
  await expect(work).rejects.toThrow('the lock was lost');
  expect(pids).toHaveLength(2);
  await expect.poll(() => pids.filter(alive)).toEqual([]);
});

test('a child that fills its error output does not hang, and little of it is kept (E-15)', async () => {
  const exit = await run('head -c 5000000 /dev/zero | tr "\\0" x >&2; exit 3');
  expect(exit.exitCode).toBe(3);
  expect(exit.stderr.length).toBe(64 * 1024);
});

test('a child that makes no progress is killed as stuck', async () => {
  await expect(run('sleep 60', { stallMs: 200 })).rejects.toThrow(/no progress for 200 ms/);
  // The same report again is no progress.
  await expect(run('while :; do echo "out_time_us=1\nprogress=continue" >&3; sleep 0.05; done', { stallMs: 300 })).rejects.toThrow(ChildDied);
});

test('progress is reported, and keeps a slow child alive', async () => {
  const times: (string | undefined)[] = [];
  await run('for i in 1 2 3 4 5 6; do echo "out_time_us=$i"; echo progress=continue; sleep 0.1; done >&3', {
    stallMs: 400,
    onProgress: (report) => times.push(report.get('out_time_us')),
  });
  expect(times).toEqual(['1', '2', '3', '4', '5', '6']);
});

test('a child that was killed from outside is not taken for a broken file', async () => {
  await expect(run('kill -KILL $$')).rejects.toThrow(/killed by SIGKILL/);
});

test('memory and file size are limited by the kernel', async () => {
  expect(toolchain.canLimit).toBe(true);
  await expect(run('head -c 200000 /dev/zero > big', { limits: { ...limits, fileBytes: 100_000 } })).resolves.toMatchObject({
    stderr: expect.stringMatching(/File (size|too)/i) as string,
  });
  const greedy = await run(`exec ${process.execPath} -e 1`, { limits: { ...limits, memoryBytes: 256 * 1024 ** 2 } }).catch((error: unknown) => error);
  expect(greedy).not.toMatchObject({ exitCode: 0 });
});

test('an ffmpeg dies with the worker that started it, also when that is killed by SIGKILL (A-04)', async () => {
  expect(toolchain.diesWithParent).toBe(true);
  const program = join(folder, 'parent.ts');
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  await writeFile(
    program,
    `import { runChild } from ${JSON.stringify(here('./child.ts'))};
     import { findToolchain } from ${JSON.stringify(here('./toolchain.ts'))};
     const toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: ${JSON.stringify(PATH)} });
     let said = false;
     await runChild(toolchain, { program: 'ffmpeg', args: ${JSON.stringify(ENDLESS)}, cwd: ${JSON.stringify(folder)}, stallMs: 60000, limits: ${JSON.stringify(limits)},
       signal: new AbortController().signal, onProgress() { if (!said) { said = true; console.log('running'); } } });`,
  );
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => parent.stdout.once('data', resolve));
  const child = Number(readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8').trim());
  expect(readFileSync(`/proc/${child}/comm`, 'utf8').trim()).toBe('ffmpeg');
  parent.kill('SIGKILL');
  await expect.poll(() => alive(child)).toBe(false);
});

test('where the kernel cannot be asked to, the child runs without guards', async () => {
  const bare = { ...toolchain, diesWithParent: false, canLimit: false };
  const exit = await runChild(bare, {
    program: 'sh',
    args: ['-c', 'touch was-here'],
    cwd: folder,
    signal: new AbortController().signal,
    stallMs: 5_000,
    limits,
  });
  expect(exit.exitCode).toBe(0);
  expect(existsSync(join(folder, 'was-here'))).toBe(true);
});

test('a machine without ffmpeg is told what to install', async () => {
  await expect(findToolchain({ ffmpeg: '/nowhere/ffmpeg', ffprobe: 'ffprobe', path: PATH })).rejects.toThrow(
    /\/nowhere\/ffmpeg cannot be started.*apt-get install ffmpeg/s,
  );
  await expect(findToolchain({ ffmpeg: 'true', ffprobe: 'true', path: PATH })).rejects.toThrow(/no encoder libx264, aac, libmp3lame/);
  await expect(findToolchain({ ffmpeg: 'false', ffprobe: 'false', path: PATH })).rejects.toThrow(ToolchainIncomplete);
});

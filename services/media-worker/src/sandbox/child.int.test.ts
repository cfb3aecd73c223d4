import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PATH } from '../sample-media.ts';
import { ChildDied, type ChildRun, type Sandbox, runChild } from './child.ts';
import { sandboxed } from './for-tests.ts';
import { NO_GUARDS } from './guards.ts';
import { type Toolchain, ToolchainIncomplete, findToolchain } from '../adapters/ffmpeg/toolchain.ts';

let toolchain: Toolchain;
let folder: string;
const GIB = 1024 ** 3;
const limits = { memoryBytes: 4 * GIB, cpuSeconds: 60, fileBytes: GIB };

beforeAll(async () => {
  toolchain = await findToolchain({ ffmpeg: 'ffmpeg', ffprobe: 'ffprobe', path: PATH });
  folder = await mkdtemp(join(tmpdir(), 'child-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Scripts that start other programs, which a decoder may not. */
const withProcesses = (): Sandbox => ({ path: PATH, guards: { ...toolchain.guards, filter: undefined } });

function run(script: string, options: Partial<ChildRun> = {}, sandbox = withProcesses()) {
  return runChild(sandbox, { program: 'sh', args: ['-c', script], cwd: folder, signal: new AbortController().signal, stallMs: 20_000, limits, ...options });
}

/** Never ends by itself and never stops talking. */
const ENDLESS = ['-nostdin', '-v', 'error', '-progress', 'pipe:3', '-f', 'lavfi', '-i', 'testsrc2=size=64x64', '-f', 'null'];

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

/** The processes whose command line holds a text: pids inside a sandbox are not ours. */
function running(marker: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return alive(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(marker);
      } catch {
        return false;
      }
    });
}

describe.each([
  ...(sandboxed ? [['in a sandbox', () => withProcesses()] as const] : []),
  ['without bubblewrap', () => ({ path: PATH, guards: { ...toolchain.guards, bwrap: false, filter: undefined } })] as const,
])('A child %s', (_where, sandbox) => {
  test('is killed with its whole group on an abort, also what ignores SIGTERM (E-15)', async () => {
    const cancel = new AbortController();
    const marker = `marker-${randomUUID()}`;
    const script = `trap '' TERM; : ${marker}; sh -c 'trap "" TERM; echo up; : ${marker}; while :; do sleep 1; done' & wait`;
    const work = run(script, { signal: cancel.signal, onOutput: () => cancel.abort(new Error('the lock was lost')) }, sandbox());
    await expect(work).rejects.toThrow('the lock was lost');
    await expect.poll(() => running(marker)).toEqual([]);
  });

  test('that left its pipes to somebody who got away does not hang its job', async () => {
    const marker = `marker-${randomUUID()}`;
    const exit = await run(`setsid sh -c ': ${marker}; sleep 30' & sleep 0.1`, {}, sandbox());
    expect(exit.exitCode).toBe(0);
    // What got away, where nothing could hold it.
    for (const pid of running(marker)) process.kill(pid, 'SIGKILL');
  });

  test('is killed when it takes too long, however much it moves', async () => {
    const busy = run('while :; do echo "frame=$((n+=1))\nprogress=continue" >&3; done', { wallMs: 300 }, sandbox());
    await expect(busy).rejects.toMatchObject({ name: 'ChildDied', why: 'wall_clock' });
  });

  test('that dies by a signal is not taken for a broken file', async () => {
    // A true crash: a program may ignore what it is merely sent.
    const crash = run('', { program: 'perl', args: ['-e', 'unpack "p", pack "L!", 8'] }, sandbox());
    await expect(crash).rejects.toMatchObject({ name: 'ChildDied', why: 'killed', signal: 'SIGSEGV' });
  });
});

test.skipIf(!sandboxed)('what was started in a sandbox and got away from its group is gone with it', async () => {
  const marker = `marker-${randomUUID()}`;
  await run(`setsid sh -c ': ${marker}; sleep 30' & sleep 0.1`);
  await expect.poll(() => running(marker)).toEqual([]);
});

test.skipIf(!sandboxed)('what made itself a daemon is gone after a kill (E-15)', async () => {
  const marker = `marker-${randomUUID()}`;
  const cancel = new AbortController();
  const script = `(setsid sh -c 'trap "" TERM HUP; : ${marker}; echo up; sleep 30' &) & sleep 30`;
  await expect(run(script, { signal: cancel.signal, onOutput: () => cancel.abort(new Error('stop')) })).rejects.toThrow('stop');
  await expect.poll(() => running(marker)).toEqual([]);
});

test.skipIf(!sandboxed)('the CPU time of a child in its sandbox is counted among ours, and limited', async () => {
  const ticks = () => {
    const fields = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return Number(fields[13]) + Number(fields[14]);
  };
  const before = ticks();
  const busy = run('', { program: 'perl', args: ['-e', '1 while 1'], limits: { ...limits, cpuSeconds: 1 } });
  await expect(busy).rejects.toMatchObject({ why: 'killed', signal: 'SIGKILL' });
  // In hundredths of a second.
  expect(ticks() - before).toBeGreaterThan(50);
});

test('a child that writes errors without end is killed in the end, and little of it is kept (E-15)', async () => {
  const endless = run("trap '' TERM; while :; do echo error; done >&2", { wallMs: 300 });
  await expect(endless).rejects.toMatchObject({ why: 'wall_clock' });
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

test('an ffmpeg dies with the worker that started it, also when that is killed by SIGKILL (A-04)', async () => {
  const marker = `marker=${randomUUID()}`;
  const program = join(folder, 'parent.ts');
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  await writeFile(
    program,
    `import { runChild } from ${JSON.stringify(here('./child.ts'))};
     import { findGuards } from ${JSON.stringify(here('./find-guards.ts'))};
     const path = ${JSON.stringify(PATH)};
     let said = false;
     await runChild({ path, guards: await findGuards(path) }, { program: 'ffmpeg', args: ${JSON.stringify([...ENDLESS, '-metadata', marker, '-'])}, cwd: ${JSON.stringify(folder)}, stallMs: 60000, limits: ${JSON.stringify(limits)},
       signal: new AbortController().signal, onProgress() { if (!said) { said = true; console.log('running'); } } });`,
  );
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => parent.stdout.once('data', resolve));
  expect(running(marker).length).toBeGreaterThan(0);
  parent.kill('SIGKILL');
  await expect.poll(() => running(marker)).toEqual([]);
});

test('where the kernel cannot be asked to, the child runs without guards', async () => {
  const exit = await runChild(
    { path: PATH, guards: NO_GUARDS },
    {
      program: 'sh',
      args: ['-c', 'touch was-here'],
      cwd: folder,
      signal: new AbortController().signal,
      stallMs: 5_000,
      limits,
    },
  );
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

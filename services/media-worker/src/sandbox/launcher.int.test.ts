import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { PATH } from '../sample-media.ts';
import type { ChildRun, RunChild } from './child.ts';
import { NO_GUARDS } from './guards.ts';
import { type Launcher, createLauncher } from './launcher.ts';

let folder: string;
let launcher: Launcher;
const limits = { memoryBytes: 4 * 1024 ** 3, cpuSeconds: 60, fileBytes: 1024 ** 3 };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'launcher-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => {
  launcher = createLauncher();
});
afterEach(() => launcher.close());

function run(script: string, options: Partial<ChildRun> = {}, runChild: RunChild = launcher.runChild) {
  return runChild(
    { path: PATH, guards: NO_GUARDS },
    { program: 'sh', args: ['-c', script], cwd: folder, signal: new AbortController().signal, stallMs: 20_000, limits, ...options },
  );
}

function alive(pid: number): boolean {
  try {
    // A zombie answers to signal 0 as well; it is dead all the same.
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

test('output, complaints, progress and exit code of a child come back whole', async () => {
  const output: Buffer[] = [];
  const frames: (string | undefined)[] = [];
  const exit = await run('head -c 3000000 /dev/zero; echo "frame=1\nprogress=continue" >&3; echo no >&2; exit 3', {
    onOutput: (chunk) => void output.push(chunk),
    onProgress: (report) => frames.push(report.get('frame')),
  });
  expect(exit).toEqual({ exitCode: 3, stderr: 'no' });
  expect(Buffer.concat(output).equals(Buffer.alloc(3_000_000))).toBe(true);
  expect(frames).toEqual(['1']);
});

test('children run side by side, each with its own output', async () => {
  const said = await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (letter) => {
      let text = '';
      await run(`for i in 1 2 3 4 5; do echo ${letter}; done`, { onOutput: (chunk) => void (text += chunk.toString()) });
      return text.replaceAll('\n', '');
    }),
  );
  expect(said).toEqual(['aaaaa', 'bbbbb', 'ccccc', 'ddddd']);
});

test('a child that got stuck, or cannot be started, says so as it does without a launcher', async () => {
  await expect(run('sleep 20', { stallMs: 100 })).rejects.toMatchObject({ name: 'ChildDied', code: 'transcoder_died', why: 'stalled' });
  await expect(run('kill -SEGV $$')).rejects.toMatchObject({ why: 'killed', signal: 'SIGSEGV' });
  await expect(run('', { program: '/nowhere/ffmpeg', args: [] })).rejects.toMatchObject({ why: 'not_started' });
});

test('who gives up gets his own reason, and the child is killed', async () => {
  const aborter = new AbortController();
  let pid = 0;
  const running = run('echo $$; exec sleep 20', {
    signal: aborter.signal,
    onOutput(chunk) {
      pid = Number(chunk.toString());
      aborter.abort(new Error('no longer wanted'));
    },
  });
  await expect(running).rejects.toThrow('no longer wanted');
  await expect.poll(() => alive(pid)).toBe(false);
});

test('the small process knows none of our secrets, and neither do its children', async () => {
  process.env['LAUNCHER_TEST_SECRET'] = 'hunter2';
  try {
    let said = '';
    await run('env', { onOutput: (chunk) => void (said += chunk.toString()) });
    expect(said).not.toContain('hunter2');
    expect(await readFile(`/proc/${launcher.pid}/environ`, 'latin1')).not.toContain('hunter2');
  } finally {
    delete process.env['LAUNCHER_TEST_SECRET'];
  }
});

test('when the small process is killed, what it ran is nobody’s fault, and the next run starts another', async () => {
  const running = run('echo up; exec sleep 20', { onOutput: () => void process.kill(launcher.pid ?? 0, 'SIGKILL') });
  await expect(running).rejects.toMatchObject({ name: 'ChildDied', why: 'not_started' });
  expect(await run('exit 0')).toMatchObject({ exitCode: 0 });
});

test('what children said last is whole, even if this process could not listen for a while after they ended', async () => {
  const runs = Array.from({ length: 16 }, (_, index) => 100_000 + 50_000 * index).map(async (sizeBytes) => {
    let heardBytes = 0;
    await run(`sleep 0.5; head -c ${sizeBytes} /dev/zero`, { onOutput: (chunk) => void (heardBytes += chunk.length) });
    return { sizeBytes, heardBytes };
  });
  await run('sleep 0.3');
  // Blocked, as by a large collection: beyond the time that a child's pipes stay open after its end.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500);
  for (const { sizeBytes, heardBytes } of await Promise.all(runs)) expect(heardBytes).toBe(sizeBytes);
});

test('a small process that got stuck holds nobody up: who gives up is free, and the next run starts another', async () => {
  const aborter = new AbortController();
  let pid = 0;
  const running = run('echo $$; exec sleep 60', {
    signal: aborter.signal,
    onOutput(chunk) {
      pid = Number(chunk.toString());
      process.kill(launcher.pid ?? 0, 'SIGSTOP');
      aborter.abort(new Error('no longer wanted'));
    },
  });
  await expect(running).rejects.toThrow('no longer wanted');
  expect(await run('exit 0')).toMatchObject({ exitCode: 0 });
  process.kill(-pid, 'SIGKILL');
});

test('after its end it is gone, and ending it twice or unused does nothing', async () => {
  await run('exit 0');
  const pid = launcher.pid ?? 0;
  expect(alive(pid)).toBe(true);
  await launcher.close();
  expect(alive(pid)).toBe(false);
  await launcher.close();
  await createLauncher().close();
});

test('the small process and its children end with a worker that is killed by SIGKILL (A-04)', async () => {
  const program = join(folder, 'worker.ts');
  await writeFile(
    program,
    `import { createLauncher } from ${JSON.stringify(fileURLToPath(new URL('./launcher.ts', import.meta.url)))};
     const launcher = createLauncher();
     await launcher.runChild({ path: ${JSON.stringify(PATH)}, guards: ${JSON.stringify(NO_GUARDS)} }, { program: 'sh', args: ['-c', 'echo $$; exec sleep 60'], cwd: ${JSON.stringify(folder)},
       signal: new AbortController().signal, stallMs: 60000, limits: ${JSON.stringify(limits)}, onOutput(chunk) { console.log(launcher.pid + ' ' + chunk); } });`,
  );
  const worker = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pids = await new Promise<number[]>((resolve) => worker.stdout.once('data', (line: Buffer) => resolve(line.toString().trim().split(' ').map(Number))));
  expect(pids.map(alive)).toEqual([true, true]);
  worker.kill('SIGKILL');
  await expect.poll(() => pids.map(alive)).toEqual([false, false]);
});

test('Ctrl-C, which reaches the small process as well, leaves it to the worker when to end', async () => {
  let text = '';
  await run('echo up; sleep 0.2; echo done', {
    onOutput(chunk) {
      text += chunk.toString();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.kill(launcher.pid ?? 0, signal);
    },
  });
  expect(text).toBe('up\ndone\n');
  expect(existsSync(`/proc/${launcher.pid}`)).toBe(true);
});

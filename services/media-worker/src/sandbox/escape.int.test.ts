import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PATH } from '../sample-media.ts';
import { type ChildRun, runChild } from './child.ts';
import { guards, sandboxed } from './for-tests.ts';
import { type Guards, NO_GUARDS } from './guards.ts';

/** What hostile media would try through a decoder that they have taken over: a shell plays it. */
const limits = { memoryBytes: 4 * 1024 ** 3, cpuSeconds: 60, fileBytes: 1024 ** 3 };
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'escape-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Runs in a folder of its own; resolves to what it said and what it left. */
async function attempt(script: string, changed: Partial<Guards> = {}, run: Partial<ChildRun> = {}) {
  const cwd = await mkdtemp(join(root, 'job-'));
  let said = '';
  const exit = await runChild(
    { path: PATH, guards: { ...guards, ...changed } },
    {
      program: 'sh',
      args: ['-c', `echo up; ${script}`],
      cwd,
      signal: AbortSignal.timeout(10_000),
      stallMs: 10_000,
      limits,
      onOutput: (chunk) => (said += chunk.toString()),
      ...run,
    },
  );
  return { ...exit, said, left: await readdir(cwd) };
}

describe.skipIf(!sandboxed)('A decoder that was taken over', () => {
  test("another job's folder is not there", async () => {
    const other = await mkdtemp(join(root, 'job-'));
    await writeFile(join(other, 'original'), 'private');
    const { said, stderr } = await attempt(`cat '${join(other, 'original')}' & wait; echo '${root}'/*; echo /proc/*`, { filter: undefined });
    expect(stderr).toContain('No such file');
    expect(said).toMatch(/^up\n\S+\/job-\w+\n\/proc\/\*\n$/);
  });

  test("the worker's environment, which holds its credentials, and its process are out of reach", async () => {
    const { said } = await attempt(`read line < /proc/${process.pid}/environ && echo read; kill -0 ${process.pid} && echo found`);
    expect(said).toBe('up\n');
  });

  test('nothing can be written outside of the folder, not even into memory', async () => {
    const tries = ['/x', '/dev/x', '/dev/shm/x', '/usr/x', '/tmp/x', join(root, 'x')];
    const { said, left } = await attempt(
      `for file in ${tries.join(' ')}; do echo x > $file && echo "wrote $file"; done; echo x > own && echo > /dev/null && echo fine`,
    );
    expect(said).toBe('up\nfine\n');
    expect(left).toEqual(['own']);
  });

  test.each([
    ['a symbolic link', 'ln -s /etc/passwd out.mp4'],
    ['a hard link', 'ln own out.mp4'],
    ['a pipe', 'mkfifo out.mp4'],
  ])('%s cannot be left in the place of an output', async (_name, command) => {
    const { said, stderr, left } = await attempt(`echo > own; exec ${command}`);
    expect([said, left]).toEqual(['up\n', ['own']]);
    expect(stderr).toMatch(/not permitted/);
  });

  test.each<[string, Partial<Guards>]>([
    ['in a sandbox', {}],
    ['without bubblewrap', { bwrap: false, unshare: undefined }],
  ])("root's rights are given up by a child %s: limits stay as they are", async (_name, changed) => {
    const { said } = await attempt('ulimit -H -v unlimited; ulimit -H -v', changed);
    expect(said).toBe(`up\n${limits.memoryBytes / 1024}\n`);
    const { stderr } = await attempt('echo > own; exec chown 1 own', changed);
    expect(stderr).toMatch(/not permitted|Invalid argument/);
  });

  test.each<[string, Partial<Guards>, number]>([
    ['every guard', {}, 0],
    ['bubblewrap without its filter', { filter: undefined }, 0],
    ['unshare alone', { bwrap: false }, 0],
    // So that silence above means something.
    ['nothing', NO_GUARDS, 1],
  ])('a decoder behind %s calls nobody, and one behind nothing does (E-10)', async (_name, changed, expected) => {
    let calls = 0;
    const canary = createServer((socket) => {
      calls += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve));
    const { port } = canary.address() as AddressInfo;
    const args = ['-nostdin', '-v', 'error', '-f', 'mp3', '-i', `tcp://127.0.0.1:${port}?timeout=2000000`, '-f', 'null', '-'];
    await attempt('', changed, { program: 'ffmpeg', args });
    expect(calls).toBe(expected);
    await new Promise((resolve) => canary.close(resolve));
  });

  test('a file that grows too large is refused in words that are understood', async () => {
    const args = ['-nostdin', '-v', 'error', '-f', 'lavfi', '-i', 'sine=duration=5', 'out.wav'];
    const { exitCode, stderr } = await attempt('', {}, { program: 'ffmpeg', args, limits: { ...limits, fileBytes: 10_000 } });
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/File too large/);
  });

  test('arguments and file names reach the program as they are, whatever they look like (E-16)', async () => {
    const names = ['-i', ';rm -rf .', 'two\nlines', '%d%03d', '$(id)', '..%2f..%2fx', 'x'.repeat(255), '\u202eexe.gpj', 'quote\'"', '*'];
    const { said, left } = await attempt(
      '',
      {},
      { program: 'sh', args: ['-c', 'for name; do echo > "./$name"; printf "%s\\0" "$name"; done', 'sh', ...names] },
    );
    expect(said.split('\0').slice(0, -1)).toEqual(names);
    expect(left.toSorted()).toEqual(names.toSorted());
  });

  test('a program outside of the usual folders can be started, and its neighbours in the tree stay unseen', async () => {
    const bin = join(root, 'opt', 'bin');
    await mkdir(bin, { recursive: true });
    await writeFile(join(bin, 'own'), '#!/bin/sh\necho "own $1"\n', { mode: 0o755 });
    await writeFile(join(root, 'opt', 'secret'), 'secret');
    const { said } = await attempt('', {}, { program: join(bin, 'own'), args: ['runs'] });
    expect(said).toBe('own runs\n');
  });
});

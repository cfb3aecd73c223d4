import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type ChildExit, type Sandbox, runChild } from './child.ts';
import { guard } from './guards.ts';

/** What a decoder is kept from. */
export const SANDBOX_LAYERS = ['network', 'files', 'processes', 'memory', 'fileSize', 'openFiles', 'parentDeath'] as const;

/** One of `SANDBOX_LAYERS`. */
export type SandboxLayer = (typeof SANDBOX_LAYERS)[number];

/** Which layers hold, as tried out on this machine. */
export type SandboxReport = Readonly<Record<SandboxLayer, 'held' | 'missing'>>;

/** What an operator can do about a missing layer. */
export const REMEDIES: Readonly<Record<SandboxLayer, string>> = {
  network: 'install bubblewrap, allow user namespaces, or forbid the pod all egress that it has no need of (NetworkPolicy)',
  files: 'install bubblewrap and allow user namespaces; until then a decoder can read what this user can, and have it published',
  processes: 'install bubblewrap and allow user namespaces, or limit the processes of the pod',
  memory: 'install util-linux (prlimit), or limit the memory of the pod',
  fileSize: 'install util-linux (prlimit), or limit the size of the volume for temporary files',
  openFiles: 'install util-linux (prlimit)',
  parentDeath: 'install bubblewrap or util-linux (setpriv); until then a decoder can outlive a killed worker',
};

/** The operator asked for every layer, and this machine does not have them. */
export class SandboxIncomplete extends Error {
  readonly code = 'sandbox_incomplete';

  constructor(missing: readonly SandboxLayer[]) {
    super(`MEDIA_SANDBOX is strict, but decoders are not held back from: ${missing.map((layer) => `${layer} (${REMEDIES[layer]})`).join('; ')}`);
    this.name = 'SandboxIncomplete';
  }
}

/** Small enough to be reached by a probe at once, large enough for a shell. */
const PROBE_LIMITS = { memoryBytes: 128 * 1024 ** 2, cpuSeconds: 10, fileBytes: 256 * 1024, openFiles: 32 };

const PROBE_TIMEOUT_MS = 10_000;

/**
 * Tries out, with real children under the very same guards, what hostile media
 * would try through a decoder that they have taken over: to call out, to read
 * and write other files, to start processes, to take all memory, disk and
 * descriptors, and to outlive the worker. Takes about a tenth of a second, more on a busy machine.
 *
 * @param root a folder of ours; what is made in it is gone afterwards
 */
export async function testSandbox(sandbox: Sandbox, { ffmpeg, root }: { readonly ffmpeg: string; readonly root: string }): Promise<SandboxReport> {
  const folder = await mkdtemp(join(root, 'sandbox-test-'));
  const [inside, outside] = [join(folder, 'inside'), join(folder, 'outside')];
  try {
    await Promise.all([mkdir(inside), mkdir(outside)]);
    const secret = join(outside, 'secret');
    await writeFile(secret, 'secret');
    const trial = (program: string, args: readonly string[], onOutput?: (chunk: Buffer) => void): Promise<ChildExit> =>
      runChild(sandbox, {
        program,
        args,
        cwd: inside,
        signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
        stallMs: PROBE_TIMEOUT_MS,
        limits: PROBE_LIMITS,
        ...(onOutput === undefined ? {} : { onOutput }),
      });
    const says = async (script: string): Promise<string> => {
      let said = '';
      await trial('sh', ['-c', `echo up; ${script}`], (chunk) => (said += chunk.toString())).catch(() => undefined);
      // A probe that never ran proves nothing.
      if (!said.startsWith('up\n')) throw new Error('the probe could not be started');
      return said;
    };
    const held: Readonly<Record<SandboxLayer, () => Promise<boolean>>> = {
      network: () => callsNobody(async (port) => (await trialOfNetwork(sandbox, ffmpeg, inside, port)).stderr.includes(String(port))),
      async files() {
        const read = await says(`read line < '${secret}'; echo "$line"`);
        await says(`echo x > '${join(outside, 'written')}'`);
        // The worker reads what its child leaves behind: a link there would make it publish the file.
        const linking = await trial('ln', ['-s', secret, 'link']);
        return !read.includes('secret') && (await sizeOf(join(outside, 'written'))) === undefined && linking.stderr.includes('not permitted');
      },
      processes: async () => !(await says('(echo forked)')).includes('forked'),
      async memory() {
        const take = (size: string) => exitCodeOf(trial('dd', ['if=/dev/zero', 'of=/dev/null', `bs=${size}`, 'count=1']));
        return (await take('1M')) === 0 && (await take('192M')) !== 0;
      },
      async fileSize() {
        await trial('dd', ['if=/dev/zero', 'of=large', 'bs=64k', 'count=8']).catch(() => undefined);
        const sizeBytes = (await sizeOf(join(inside, 'large'))) ?? 0;
        return sizeBytes > 0 && sizeBytes <= PROBE_LIMITS.fileBytes;
      },
      async openFiles() {
        const open = (count: number) =>
          exitCodeOf(
            trial(
              'tee',
              Array.from({ length: count }, (_, index) => `open-${index}`),
            ),
          );
        return (await open(1)) === 0 && (await open(PROBE_LIMITS.openFiles)) !== 0;
      },
      parentDeath: () => diesWithItsParent(sandbox, inside),
    };
    const results = await Promise.all(SANDBOX_LAYERS.map(async (layer) => [layer, (await held[layer]().catch(() => false)) ? 'held' : 'missing'] as const));
    return Object.fromEntries(results) as unknown as SandboxReport;
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** The layers that do not hold. */
export function missingLayers(report: SandboxReport): SandboxLayer[] {
  return SANDBOX_LAYERS.filter((layer) => report[layer] === 'missing');
}

/** By ffmpeg itself: it is the one that would call, and it needs more memory and descriptors than the other probes are given. */
function trialOfNetwork(sandbox: Sandbox, ffmpeg: string, cwd: string, port: number): Promise<ChildExit> {
  const args = ['-nostdin', '-v', 'error', '-f', 'mp3', '-i', `tcp://127.0.0.1:${port}?timeout=2000000`, '-f', 'null', '-'];
  const limits = { ...PROBE_LIMITS, memoryBytes: 4 * 1024 ** 3, openFiles: 64 };
  return runChild(sandbox, { program: ffmpeg, args, cwd, signal: AbortSignal.timeout(PROBE_TIMEOUT_MS), stallMs: PROBE_TIMEOUT_MS, limits });
}

/** Whether `work` tried, and nobody was rung. */
async function callsNobody(work: (port: number) => Promise<boolean>): Promise<boolean> {
  let calls = 0;
  const canary = createServer((socket) => {
    calls += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve));
  try {
    return (await work((canary.address() as AddressInfo).port)) && calls === 0;
  } finally {
    await new Promise((resolve) => canary.close(resolve));
  }
}

/** A worker that is killed while its child sleeps: a shell plays the worker. */
async function diesWithItsParent(sandbox: Sandbox, cwd: string): Promise<boolean> {
  // Without the filter: it comes by a descriptor of ours, and has no part in this.
  const { command, args } = guard({ ...sandbox.guards, filter: undefined }, PROBE_LIMITS, cwd, 'sh', ['-c', 'echo up; exec sleep 20']);
  const parent = spawn('sh', ['-c', '"$@" & wait', 'sh', command, ...args], {
    env: { PATH: sandbox.path },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  parent.once('error', () => undefined);
  const { pid } = parent;
  if (pid === undefined) return false;
  const group = (signal: NodeJS.Signals | 0) => {
    try {
      return process.kill(-pid, signal);
    } catch {
      return false;
    }
  };
  try {
    const { promise: over, resolve } = Promise.withResolvers<boolean>();
    const late = setTimeout(resolve, PROBE_TIMEOUT_MS, false);
    parent.stdout.once('data', () => resolve(true)).once('close', () => resolve(false));
    const started = await over;
    clearTimeout(late);
    if (!started) return false;
    parent.kill('SIGKILL');
    // The pipe closes when the last process that holds it is gone.
    return await new Promise<boolean>((decide) => {
      const waiting = setTimeout(() => decide(false), 500);
      parent.once('close', () => {
        clearTimeout(waiting);
        decide(true);
      });
    });
  } finally {
    group('SIGKILL');
  }
}

async function exitCodeOf(work: Promise<ChildExit>): Promise<number> {
  return work.then(
    ({ exitCode }) => exitCode,
    () => -1,
  );
}

async function sizeOf(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.size;
}

import { lstat, mkdir, mkdtemp, readFile, readdir, rm, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Scratch, TransientMediaFailure } from '@backhaul/jobs/media';

/** What `stat` counts in, on every system. */
const BLOCK_BYTES = 512;

/** How much of the disk is left alone. */
export interface ScratchOptions {
  /** Always kept free, for logs and for what was reckoned too low. */
  readonly minFreeBytes: number;
}

/** A process's private folders under a root that others may share. */
export interface ScratchFolders extends Scratch {
  /** Removes what dead processes of this host left there; resolves to how many. */
  sweep(): Promise<number>;
  /** Removes this process's own. */
  close(): Promise<void>;
}

/**
 * Folders `<root>/<host>~<pid>~<start>/<job>`.
 *
 * The start time tells a process from an earlier one with the same pid: in a
 * container every worker is pid 1. The host keeps one from sweeping another's
 * where they share a volume: a pid means nothing on another host.
 */
export async function createScratchFolders(root: string, { minFreeBytes }: ScratchOptions): Promise<ScratchFolders> {
  const host = hostname().replaceAll('~', '-');
  const own = `${host}~${process.pid}~${(await startTime(process.pid)) ?? '0'}`;
  const ownPath = join(root, own);
  await mkdir(ownPath, { recursive: true, mode: 0o700 });
  const reserved = new Map<string, number>();
  return {
    async open({ reserveBytes }) {
      const path = await mkdtemp(join(ownPath, 'job-'));
      try {
        const written = await Promise.all([...reserved.keys()].map(async (folder) => [folder, await usedBytes(folder)] as const));
        // After that, so that what is being written meanwhile counts twice rather than not at all.
        const { bavail, bsize } = await statfs(ownPath);
        // No waiting from here on: two jobs would be promised the same room.
        const writtenBytes = new Map(written);
        const promisedBytes = sum([...reserved].map(([folder, bytes]) => Math.max(0, bytes - (writtenBytes.get(folder) ?? 0))));
        const freeBytes = bavail * bsize - promisedBytes - minFreeBytes;
        if (reserveBytes > freeBytes) {
          throw new TransientMediaFailure('disk_full', `the job needs ${reserveBytes} bytes of disk, and ${Math.max(0, freeBytes)} are free`);
        }
        reserved.set(path, reserveBytes);
      } catch (error) {
        await remove(path);
        throw error;
      }
      return {
        path,
        async [Symbol.asyncDispose]() {
          // First the files, then the promise: too careful for a moment rather than too generous.
          await remove(path).finally(() => reserved.delete(path));
        },
      };
    },
    async sweep() {
      const names = await readdir(root);
      const dead: string[] = [];
      for (const name of names) {
        const [folderHost, pid, started] = name.split('~');
        if (folderHost !== host || name === own || pid === undefined || !/^\d+$/.test(pid)) continue;
        const alive = await startTime(Number(pid));
        if (alive === undefined || alive !== started) dead.push(name);
      }
      await Promise.all(dead.map((name) => remove(join(root, name))));
      return dead.length;
    },
    close: () => remove(ownPath),
  };
}

/** When a process started, in the kernel's ticks; '0' where only its being alive can be told; undefined when it is gone. */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name in brackets and may hold anything: count from behind it. Start time is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    try {
      process.kill(pid, 0);
      return '0';
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'EPERM' ? '0' : undefined;
    }
  }
}

/** What a folder takes of the disk. */
async function usedBytes(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const sizes = await Promise.all(
    names.map((name) =>
      lstat(join(folder, name)).then(
        ({ blocks }) => blocks * BLOCK_BYTES,
        () => 0,
      ),
    ),
  );
  return sum(sizes);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** `maxRetries`: a killed child may still be writing when its folder goes. */
function remove(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 3 });
}

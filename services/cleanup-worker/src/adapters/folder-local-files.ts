import { constants } from 'node:fs';
import { lstat, open, readlink, realpath, unlink } from 'node:fs/promises';
import { basename, dirname, resolve, sep } from 'node:path';
import type { LocalFiles, LocalRemoval } from '@backhaul/jobs/cleanup';

/**
 * Files in one folder of this machine.
 *
 * The paths come from a table that others write: `..`, and symbolic links on
 * the way, are resolved before the folder is compared. On Linux the parent
 * folder is held open meanwhile, and the file is removed through that handle,
 * so that swapping a folder for a link in between leads nowhere. A file that
 * is a link itself is removed as a link; what it points at stays.
 *
 * @param folder absolute; without one every path is outside
 */
export function folderLocalFiles(folder: string | undefined): LocalFiles {
  return {
    async remove(path): Promise<LocalRemoval> {
      if (folder === undefined || path.includes('\0')) return 'outside';
      const root = await realpath(folder).catch(ifMissing);
      // The folder is not mounted here: saying "absent" would delete the rows of files that are still there.
      if (root === undefined) return 'no_folder';
      const parent = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY).catch(ifMissing);
      if (parent === undefined) return isInside(root, path) || isInside(resolve(folder), path) ? 'absent' : 'outside';
      try {
        const handle = `/proc/self/fd/${parent.fd}`;
        const held = await readlink(handle).catch(() => undefined);
        const real = held ?? (await realpath(dirname(path)));
        if (real !== root && !real.startsWith(root + sep)) return 'outside';
        const name = basename(path);
        if (name === '' || name === '.' || name === '..') return 'not_a_file';
        const target = `${held === undefined ? real : handle}/${name}`;
        const found = await lstat(target).catch(ifMissing);
        if (found === undefined) return 'absent';
        if (!found.isFile() && !found.isSymbolicLink()) return 'not_a_file';
        await unlink(target).catch(ifMissing);
        return 'removed';
      } finally {
        await parent.close();
      }
    },
  };
}

/** For a path whose folder does not exist: there is nothing to resolve, so its text has to do. */
function isInside(root: string, path: string): boolean {
  return path.startsWith(root + sep) && !path.split(sep).includes('..');
}

function ifMissing(error: unknown): undefined {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
  throw error;
}

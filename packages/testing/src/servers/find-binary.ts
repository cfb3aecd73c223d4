import { accessSync, constants, globSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The path of a server's program: the folders given first (globs; the highest version wins), then PATH,
 * then the folders that Homebrew and Debian use but that are often not on PATH.
 *
 * @throws Error that says how to install it
 */
export function findBinary(name: string, { globs = [], install }: { globs?: string[]; install: string }): string {
  const byVersion = new Intl.Collator('en', { numeric: true });
  const candidates = [
    ...globs.flatMap((pattern) => globSync(pattern).toSorted((a, b) => byVersion.compare(b, a))),
    ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name)),
    ...['/opt/homebrew/bin', '/opt/homebrew/sbin', '/usr/local/bin', '/usr/local/sbin', '/usr/sbin'].map((folder) => join(folder, name)),
  ];
  const found = candidates.find(isExecutable);
  if (found === undefined) throw new Error(`${name} is not installed; install it with: ${install} (or run: npm run setup)`);
  return found;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

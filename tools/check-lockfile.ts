/**
 * Keeps package-lock.json usable by everybody:
 *
 * - no registry addresses: with them, everybody installs from the registry of
 *   whoever ran `npm install` last;
 * - an entry for each optional dependency, also those of other platforms:
 *   `npm ci` refuses a lockfile without them, and npm leaves out silently what
 *   it could not find at the time.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Violation, report } from './check-violation.ts';

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly optional?: boolean; readonly optionalDependencies?: Readonly<Record<string, string>> }>>;
}

/** What is wrong with `root`'s package-lock.json. */
export function checkLockfile(root: string): Violation[] {
  const text = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const lines = text.split('\n');
  return [...registryAddresses(lines), ...missingEntries(JSON.parse(text) as Lockfile, lines)];
}

function registryAddresses(lines: readonly string[]): Violation[] {
  return lines.flatMap((line, index) => {
    if (!/"resolved": "(?:https?|git\+[a-z]+|git|file):/.test(line)) return [];
    return [
      {
        file: 'package-lock.json',
        line: index + 1,
        rule: 'no-registry-address',
        problem: 'names where the package was downloaded from',
        mend: 'run npm install --package-lock-only --omit-lockfile-registry-resolved',
      },
    ];
  });
}

function missingEntries({ packages }: Lockfile, lines: readonly string[]): Violation[] {
  return Object.entries(packages).flatMap(([path, { optional, optionalDependencies }]) =>
    // What is itself optional may go without: npm ci does not mind, and the package that wants it has a way around it.
    Object.keys((optional ? undefined : optionalDependencies) ?? {}).flatMap((name) => {
      // Where Node would look: beside the package, then in each folder above it.
      const folders = [path, ...path.split('/node_modules/').map((_, index, parts) => parts.slice(0, index).join('/node_modules/'))];
      if (folders.some((folder) => packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`])) return [];
      return [
        {
          file: 'package-lock.json',
          line: lines.findIndex((line) => line.startsWith(`    "${path}": {`)) + 1,
          rule: 'complete-lockfile',
          problem: `has no entry for ${name}, an optional dependency of ${path}`,
          mend: 'pin a version of it that is published for every platform, delete package-lock.json and run npm install --package-lock-only',
        },
      ];
    }),
  );
}

if (import.meta.main) report(checkLockfile(dirname(import.meta.dirname)));

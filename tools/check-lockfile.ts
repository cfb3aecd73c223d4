/**
 * Keeps registry addresses out of package-lock.json: with them, everybody
 * installs from the registry of whoever ran `npm install` last.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Violation, report } from './check-violation.ts';

/** The lines of `root`'s package-lock.json that say where a package was downloaded from. */
export function checkLockfile(root: string): Violation[] {
  const lines = readFileSync(join(root, 'package-lock.json'), 'utf8').split('\n');
  return lines.flatMap((text, index) => {
    if (!/"resolved": "(?:https?|git\+[a-z]+|git|file):/.test(text)) return [];
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

if (import.meta.main) report(checkLockfile(dirname(import.meta.dirname)));

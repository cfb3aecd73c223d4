/**
 * Keeps files small enough to read in one go: a job at most 200 lines, an
 * engine 400, a test 500.
 */
import { dirname } from 'node:path';
import { isTest, readSource, sourceFiles } from './check-source.ts';
import { type Violation, report } from './check-violation.ts';

/** The files of `root` that are longer than their kind may be. */
export function checkSizes(root: string): Violation[] {
  return sourceFiles(root, ['packages', 'services', 'tools', 'bench', 'tests']).flatMap((file) => {
    const { lineCount } = readSource(root, file);
    const limit = isTest(file) ? 500 : file.startsWith('packages/jobs/') ? 200 : 400;
    if (lineCount <= limit) return [];
    return [
      { file, line: limit + 1, rule: 'file-size', problem: `${lineCount} lines, at most ${limit}`, mend: 'move one of its subjects to a file of its own' },
    ];
  });
}

if (import.meta.main) report(checkSizes(dirname(import.meta.dirname)));

/**
 * `make test`: the tests, then a last line of its own: `<n> passed, <n> failed`.
 *
 *   node tools/test.ts                  unit, int and flow
 *   node tools/test.ts int              one project: unit, int, flow or slow
 *   node tools/test.ts path -t name     anything else goes to vitest
 *
 * Exit code: vitest's; also 1 when nothing was counted although vitest ended well.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const everyDay = ['unit', 'int', 'flow'];
const [first, ...rest] = process.argv.slice(2);
const isProject = first !== undefined && [...everyDay, 'slow'].includes(first);
const projects = isProject ? [first] : everyDay;
const filters = isProject || first === undefined ? rest : [first, ...rest];

const results = join(root, '.backhaul', `test-results-${process.pid}.json`);
mkdirSync(dirname(results), { recursive: true });
const args = ['node_modules/vitest/vitest.mjs', 'run', ...projects.map((name) => `--project=${name}`)];
args.push('--reporter=default', '--reporter=json', `--outputFile.json=${results}`, ...filters);
const vitest = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
// Ctrl-C reaches vitest too, which stops the servers; this process must outlive it to report.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => vitest.kill('SIGTERM'));
const code = await new Promise<number>((resolve, reject) => {
  vitest.once('error', reject);
  vitest.once('exit', (exitCode) => resolve(exitCode ?? 1));
});

const { passed, failed } = count();
process.exitCode = code === 0 && failed > 0 ? 1 : code;
process.stdout.write(`${passed} passed, ${failed} failed\n`);

/** From vitest's JSON report. A run that failed without a failed test, such as by a file that does not load, counts as one. */
function count(): { passed: number; failed: number } {
  try {
    const report = JSON.parse(readFileSync(results, 'utf8')) as { numPassedTests: number; numFailedTests: number };
    return { passed: report.numPassedTests, failed: Math.max(report.numFailedTests, code === 0 ? 0 : 1) };
  } catch {
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(results, { force: true });
  }
}

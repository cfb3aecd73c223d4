/**
 * `make check`: everything that can be said of the tree without running it.
 *
 *   node tools/check.ts              every check
 *   node tools/check.ts lint tiers   only those
 *
 * Exit codes: 0 all passed, 1 a check found something, 2 a name is unknown.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

interface Check {
  readonly name: string;
  /** What it looks for, for the summary. */
  readonly finds: string;
  /** The command, run in the repository's root; the first word is looked up in node_modules/.bin first. */
  readonly command: readonly [string, ...string[]];
  /** What to do when it fails. */
  readonly mend: string;
}

const root = dirname(import.meta.dirname);

const checks: readonly Check[] = [
  { name: 'types', finds: 'type errors', command: ['tsc', '-p', '.'], mend: 'mend the types' },
  {
    name: 'lint',
    finds: 'floating promises, import cycles, any, unfinished switches',
    command: ['oxlint', '--type-aware', '--deny-warnings'],
    mend: 'mend the code; a disable comment needs its reason (rules: .oxlintrc.json)',
  },
  { name: 'format', finds: 'unformatted files', command: ['oxfmt', '--check'], mend: 'run make fmt' },
  {
    name: 'dead-code',
    finds: 'unused files, exports, dependencies',
    command: ['knip', '--no-progress', '--treat-config-hints-as-errors'],
    mend: 'remove it, or use it (settings: knip.json)',
  },
  {
    name: 'tiers',
    finds: 'imports that point up, foreign drivers, undeclared packages',
    command: [process.execPath, 'tools/check-tiers.ts'],
    mend: 'see each line',
  },
  { name: 'sizes', finds: 'files that have grown too large', command: [process.execPath, 'tools/check-sizes.ts'], mend: 'give each subject its own file' },
  { name: 'lockfile', finds: 'registry addresses in package-lock.json', command: [process.execPath, 'tools/check-lockfile.ts'], mend: 'see each line' },
];

interface Result {
  readonly check: Check;
  readonly code: number;
  readonly output: string;
  readonly elapsedMs: number;
}

function run(check: Check): Promise<Result> {
  const startedAt = performance.now();
  // The tools are scripts that start with `env node`: the Node running this must come first, an older one cannot load them.
  const path = [dirname(process.execPath), join(root, 'node_modules', '.bin'), process.env['PATH'] ?? ''].join(delimiter);
  const [command, ...args] = check.command;
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, PATH: path, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => (output += chunk.toString());
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const finish = (code: number) => resolve({ check, code, output, elapsedMs: performance.now() - startedAt });
    child.once('error', (error) => {
      output += `${error.message} (is it installed? make setup)\n`;
      finish(127);
    });
    child.once('close', (code) => finish(code ?? 1));
  });
}

async function runAll(selected: readonly Check[]): Promise<Result[]> {
  const waiting = [...selected];
  const results: Result[] = [];
  // One per core: the type-aware tools use every core themselves, more at once only makes each slower.
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) results.push(await run(check));
    }),
  );
  return results.toSorted((a, b) => selected.indexOf(a.check) - selected.indexOf(b.check));
}

const names = process.argv.slice(2);
const unknown = names.filter((name) => !checks.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(`There is no check ${unknown.join(', ')}; there are: ${checks.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}

const startedAt = performance.now();
const results = await runAll(names.length === 0 ? checks : checks.filter(({ name }) => names.includes(name)));
const failed = results.filter(({ code }) => code !== 0);
for (const { check, output } of failed) console.log(`\n── ${check.name} ${'─'.repeat(60)}\n${output.trim()}`);
console.log('');
for (const { check, code, elapsedMs } of results) {
  const line = `${code === 0 ? 'ok  ' : 'FAIL'} ${check.name.padEnd(10)} ${(elapsedMs / 1000).toFixed(1).padStart(5)} s  ${check.finds}`;
  console.log(code === 0 ? line : `${line}\n       mend: ${check.mend}`);
}
console.log(`\n${results.length - failed.length} passed, ${failed.length} failed in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
process.exitCode = failed.length === 0 ? 0 : 1;

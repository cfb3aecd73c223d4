/**
 * Keeps the dependencies pointing one way: services → events, jobs →
 * machinery, and each driver behind the one package that owns it.
 *
 * oxlint's import/no-cycle finds cycles of files; this adds cycles of
 * packages, which it does not see as such.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { type Import, type Source, isTest, readSource, sourceFiles } from './check-source.ts';
import { type Violation, report } from './check-violation.ts';

/** The driver packages and the one workspace that may import each. */
const owners: Readonly<Record<string, string>> = {
  bullmq: 'packages/queue',
  ioredis: 'packages/queue',
  amqplib: 'packages/broker',
  pg: 'packages/database',
  aws4: 'packages/object-store',
  // Proves that the fake of S3 is true on the wire; the product is lighter without it.
  '@aws-sdk': 'packages/testing',
};

/** Where the outer world is played, with the plain clients that any backend would use. */
const outside = /^(?:packages\/testing|bench|tools|tests)(?:\/|$)/;

/** Where the environment may be read: the edge of each process, tests that are told where the servers are, and what is no part of the product. */
const readsEnvironment = /^(?:services\/[^/]+\/src\/main\.ts$|(?:tools|bench|tests|packages\/testing)\/|.+\.int\.test\.ts$|vitest\.config\.ts$)/;

/** Product packages; every other package is machinery. */
const product = new Set(['packages/events', 'packages/jobs']);

type Tier = 'machinery' | 'product' | 'service' | 'outside';
const height: Readonly<Record<Tier, number>> = { machinery: 1, product: 2, service: 3, outside: 4 };

interface Workspace {
  /** `packages/queue`. */
  readonly dir: string;
  readonly name: string;
  readonly tier: Tier;
  readonly dependencies: ReadonlySet<string>;
  readonly devDependencies: ReadonlySet<string>;
}

/** What is wrong with the imports below `root`. */
export function checkTiers(root: string): Violation[] {
  const workspaces = readWorkspaces(root);
  const files = sourceFiles(root, ['packages', 'services', 'tools', 'bench', 'tests']);
  if (existsSync(join(root, 'vitest.config.ts'))) files.push('vitest.config.ts');
  const violations: Violation[] = [];
  const uses = new Map<string, Map<string, { file: string; line: number }>>();
  for (const source of files.map((file) => readSource(root, file))) {
    const from = workspaces.find(({ dir }) => source.file.startsWith(`${dir}/`));
    violations.push(...checkEnvironment(source), ...checkExceptions(source));
    for (const each of source.imports) {
      violations.push(...checkImport(source, each, from, workspaces));
      // A test may come back to the package that tests it (testing migrates with database); the product may not.
      if (from !== undefined && !isTest(source.file) && each.specifier.startsWith('@backhaul/')) {
        const targets = uses.get(from.name) ?? new Map<string, { file: string; line: number }>();
        const target = packageOf(each.specifier);
        if (!targets.has(target)) targets.set(target, { file: source.file, line: each.line });
        uses.set(from.name, targets);
      }
    }
  }
  violations.push(...packageCycles(uses));
  return violations.toSorted((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
}

function checkEnvironment(source: Source): Violation[] {
  if (readsEnvironment.test(source.file)) return [];
  return source.envLines.map((line) => ({
    file: source.file,
    line,
    rule: 'environment-at-the-edge',
    problem: 'reads process.env',
    mend: 'take the value as a parameter; services/*/src/main.ts reads the environment through the config schema',
  }));
}

function checkExceptions(source: Source): Violation[] {
  return source.unexplainedLines.map((line) => ({
    file: source.file,
    line,
    rule: 'reasoned-exception',
    problem: 'silences a tool without a reason',
    mend: 'mend the code, or end the comment with " -- " and the reason',
  }));
}

function checkImport(source: Source, each: Import, from: Workspace | undefined, workspaces: readonly Workspace[]): Violation[] {
  const { file } = source;
  const { specifier, line } = each;
  const found = (rule: string, problem: string, mend: string): Violation[] => [{ file, line, rule, problem, mend }];

  if (specifier.startsWith('.')) return checkRelative(file, each, from);

  const driver = Object.keys(owners).find((name) => specifier === name || specifier.startsWith(`${name}/`));
  if (driver !== undefined && owners[driver] !== from?.dir && !outside.test(file)) {
    return found('driver-owner', `imports ${specifier}`, `only ${owners[driver]} may; use what it exports, or add the function there`);
  }
  if (!specifier.startsWith('@backhaul/')) return [];

  if (/^@backhaul\/[^/]+\/src(?:\/|$)/.test(specifier)) {
    return found('no-deep-import', `imports ${specifier}`, 'import the package; if something is missing, add it to its exports');
  }
  const target = workspaces.find(({ name }) => name === packageOf(specifier));
  if (target === undefined) return found('known-package', `imports ${specifier}`, 'there is no such workspace: check the spelling, or run npm install');
  if (from === undefined || target === from) return [];

  if (target.dir === 'packages/testing' && !isTest(file) && !outside.test(file)) {
    return found('testing-in-tests', 'imports @backhaul/testing outside a test', 'move what the product needs to a machinery package');
  }
  if (height[target.tier] > height[from.tier]) {
    return found('imports-point-down', `${from.tier} imports ${target.name}, a ${target.tier}`, 'move the shared part down, or pass it in as a parameter');
  }
  if (target.tier === 'service' && from.tier === 'service') {
    return found('imports-point-down', `a service imports ${target.name}, another service`, 'move the shared part to a package');
  }
  if (!from.dependencies.has(target.name) && !(from.devDependencies.has(target.name) && isTest(file))) {
    const key = isTest(file) ? 'dependencies or devDependencies' : 'dependencies';
    return found('declared-package', `imports ${target.name}, which ${from.dir}/package.json does not declare`, `add "${target.name}": "0.1.0" to its ${key}`);
  }
  return [];
}

function checkRelative(file: string, { specifier, line }: Import, from: Workspace | undefined): Violation[] {
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  // A test of the whole repository looks into the packages' insides on purpose.
  if (from !== undefined && !target.startsWith(`${from.dir}/`) && !outside.test(file)) {
    return [{ file, line, rule: 'no-deep-import', problem: `reaches out of ${from.dir} to ${target}`, mend: 'import the package by its name' }];
  }
  const queueOf = (path: string) => /^packages\/jobs\/src\/([^/]+)\//.exec(path)?.[1];
  const mine = queueOf(file);
  const theirs = queueOf(target);
  if (mine !== undefined && theirs !== undefined && mine !== theirs) {
    return [
      { file, line, rule: 'queues-apart', problem: `${mine} imports from ${theirs}`, mend: 'move the shared part to packages/jobs/src, or to a package' },
    ];
  }
  return [];
}

function packageCycles(uses: ReadonlyMap<string, ReadonlyMap<string, { file: string; line: number }>>): Violation[] {
  const violations: Violation[] = [];
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]) => {
    for (const [target, place] of uses.get(name) ?? []) {
      const start = path.indexOf(target);
      if (start >= 0 && target !== name) {
        const cycle = [...path.slice(start), target].join(' → ');
        violations.push({ ...place, rule: 'no-package-cycle', problem: cycle, mend: 'move what both need into a package below them' });
      } else if (!done.has(target) && target !== name) visit(target, [...path, target]);
    }
    done.add(name);
  };
  for (const name of uses.keys()) if (!done.has(name)) visit(name, [name]);
  return violations;
}

/** `@backhaul/queue/job` → `@backhaul/queue`. */
function packageOf(specifier: string): string {
  return specifier.split('/').slice(0, 2).join('/');
}

function readWorkspaces(root: string): Workspace[] {
  const below = (folder: string) => (existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}`) : []);
  return [...below('packages'), ...below('services'), 'bench'].flatMap((dir) => {
    const manifest = join(root, dir, 'package.json');
    if (!existsSync(manifest)) return [];
    const read = JSON.parse(readFileSync(manifest, 'utf8')) as Record<
      'dependencies' | 'devDependencies' | 'optionalDependencies',
      Record<string, string> | undefined
    > & { name: string };
    const tier: Tier = dir.startsWith('services/') ? 'service' : dir === 'bench' ? 'outside' : product.has(dir) ? 'product' : 'machinery';
    const names = (...groups: (Record<string, string> | undefined)[]) => new Set(groups.flatMap((group) => Object.keys(group ?? {})));
    return [{ dir, name: read.name, tier, dependencies: names(read.dependencies, read.optionalDependencies), devDependencies: names(read.devDependencies) }];
  });
}

if (import.meta.main) report(checkTiers(dirname(import.meta.dirname)));

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { checkLockfile } from './check-lockfile.ts';
import { checkSizes } from './check-sizes.ts';
import { checkTiers } from './check-tiers.ts';

// The linter is started by some of these tests: seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const root = dirname(import.meta.dirname);

/** A small tree of the project's shape in which nothing is wrong. */
const sound: Readonly<Record<string, string>> = {
  'packages/runtime/package.json': manifest('runtime'),
  'packages/runtime/src/index.ts': '// oxlint-disable-next-line no-magic -- one is one\nexport const one = 1;\n',
  'packages/queue/package.json': manifest('queue', ['@backhaul/runtime', 'bullmq']),
  'packages/queue/src/index.ts': "import { Queue } from 'bullmq';\nimport { one } from '@backhaul/runtime';\nexport const queue = [Queue, one];\n",
  'packages/testing/package.json': manifest('testing', ['@backhaul/queue']),
  'packages/testing/src/index.ts': "import '@backhaul/queue';\nexport const url = process.env['REDIS_URL'];\n",
  'packages/events/package.json': manifest('events', ['@backhaul/runtime']),
  'packages/events/src/index.ts': "export { one } from '@backhaul/runtime';\n",
  'packages/jobs/package.json': manifest('jobs', ['@backhaul/events', '@backhaul/queue']),
  'packages/jobs/src/catalog.ts': "import './media/index.ts';\nimport './cleanup/index.ts';\n",
  'packages/jobs/src/media/index.ts': "import '@backhaul/queue';\n",
  'packages/jobs/src/cleanup/index.ts': "import '@backhaul/events';\n",
  'services/bridge/package.json': manifest('bridge', ['@backhaul/jobs', '@backhaul/queue']),
  'services/bridge/src/main.ts': "import '@backhaul/jobs';\nimport { bridge } from './bridge.ts';\nbridge(process.env);\n",
  'services/bridge/src/bridge.ts': "import '@backhaul/queue';\n// process.env in a comment reads nothing\nexport const bridge = (env: object) => env;\n",
  'services/scheduler/package.json': manifest('scheduler'),
  'services/scheduler/src/main.ts': 'export {};\n',
};

function manifest(name: string, dependencies: readonly string[] = []): string {
  return JSON.stringify({
    name: `@backhaul/${name}`,
    type: 'module',
    exports: { '.': './src/index.ts' },
    dependencies: Object.fromEntries(dependencies.map((each) => [each, '0.1.0'])),
  });
}

/** Lays the sound tree, with some files planted in it, into a folder that is gone after the test. */
async function plant(planted: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'check-tiers-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const [file, text] of Object.entries({ ...sound, ...planted })) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  return folder;
}

test('A tree whose imports all point down passes the tier check', async () => {
  expect(checkTiers(await plant({}))).toEqual([]);
});

const violations: readonly [what: string, rule: string, file: string, line: number, text: string][] = [
  ['machinery imports a product package', 'imports-point-down', 'packages/queue/src/up.ts', 1, "import '@backhaul/jobs';\n"],
  [
    'machinery imports a type of a product package',
    'imports-point-down',
    'packages/queue/src/up.ts',
    2,
    "\nimport type { A } from '@backhaul/events';\nexport type B = A;\n",
  ],
  ['a product package imports a service', 'imports-point-down', 'packages/jobs/src/up.ts', 1, "export * from '@backhaul/bridge';\n"],
  ['a service imports another service', 'imports-point-down', 'services/bridge/src/side.ts', 1, "await import('@backhaul/scheduler');\n"],
  ['a service imports a queue client', 'driver-owner', 'services/bridge/src/driver.ts', 1, "import { Queue } from 'bullmq';\nexport { Queue };\n"],
  ['machinery imports a Redis client it does not own', 'driver-owner', 'packages/runtime/src/driver.ts', 1, "export { Redis } from 'ioredis';\n"],
  ['a service imports an AMQP client', 'driver-owner', 'services/bridge/src/driver.ts', 1, "import amqplib from 'amqplib';\nexport { amqplib };\n"],
  ['a test of a service imports a Postgres client', 'driver-owner', 'services/bridge/src/driver.test.ts', 1, "import pg from 'pg';\nexport { pg };\n"],
  [
    'a job imports an S3 client',
    'driver-owner',
    'packages/jobs/src/media/driver.ts',
    1,
    "import type { S3Client } from '@aws-sdk/client-s3';\nexport type S = S3Client;\n",
  ],
  ['a service signs requests to S3 itself', 'driver-owner', 'services/bridge/src/driver.ts', 1, "import { sign } from 'aws4';\nexport { sign };\n"],
  ['the object store takes the AWS SDK', 'driver-owner', 'packages/object-store/src/driver.ts', 1, "export { S3Client } from '@aws-sdk/client-s3';\n"],
  ['a queue reaches into another queue', 'queues-apart', 'packages/jobs/src/media/theft.ts', 1, "import '../cleanup/index.ts';\n"],
  ['a service deep-imports a package', 'no-deep-import', 'services/bridge/src/deep.ts', 1, "import '@backhaul/queue/src/index.ts';\n"],
  ['a service reaches a package by path', 'no-deep-import', 'services/bridge/src/deep.ts', 1, "import '../../../packages/queue/src/index.ts';\n"],
  ['a package reads process.env', 'environment-at-the-edge', 'packages/queue/src/env.ts', 2, 'export const a =\n  process.env.HOME;\n'],
  ['a package takes env out of process', 'environment-at-the-edge', 'packages/queue/src/env.ts', 1, 'const { env } = process;\nexport { env };\n'],
  ['a package imports env', 'environment-at-the-edge', 'packages/queue/src/env.ts', 1, "import { env } from 'node:process';\nexport { env };\n"],
  ['a service reads process.env beside its main.ts', 'environment-at-the-edge', 'services/bridge/src/env.ts', 1, "export const a = process['env'];\n"],
  ['a lint rule is silenced without a reason', 'reasoned-exception', 'packages/queue/src/silent.ts', 1, '// oxlint-disable-next-line no-console\nexport {};\n'],
  ['a type error is silenced without a reason', 'reasoned-exception', 'packages/queue/src/silent.ts', 2, '\n/* @ts-expect-error */\nexport {};\n'],
  ['a package is not declared', 'declared-package', 'services/bridge/src/undeclared.ts', 1, "import '@backhaul/runtime';\n"],
  ['a package does not exist', 'known-package', 'services/bridge/src/unknown.ts', 1, "import '@backhaul/nowhere';\n"],
  ['the product uses the test machinery', 'testing-in-tests', 'services/bridge/src/product.ts', 1, "import '@backhaul/testing';\n"],
];

test.each(violations)('The tier check fails when %s', async (_what, rule, file, line, text) => {
  const found = checkTiers(await plant({ [file]: text }));
  // An import that points up may close a cycle of packages as well; both are told.
  expect(found).toContainEqual(expect.objectContaining({ file, line, rule, mend: expect.stringMatching(/./) as unknown }));
});

test('The tier check fails on a cycle of packages that is no cycle of files', async () => {
  const folder = await plant({
    'packages/runtime/package.json': manifest('runtime', ['@backhaul/queue']),
    'packages/runtime/src/far.ts': "import '@backhaul/queue';\n",
  });
  expect(checkTiers(folder)).toMatchObject([{ rule: 'no-package-cycle', problem: expect.stringMatching(/queue → .*runtime|runtime → .*queue/) as unknown }]);
});

test('The tier check lets a test use a package that only its devDependencies declare', async () => {
  const folder = await plant({
    'services/bridge/package.json': JSON.stringify({
      name: '@backhaul/bridge',
      dependencies: { '@backhaul/jobs': '0.1.0', '@backhaul/queue': '0.1.0' },
      devDependencies: { '@backhaul/testing': '0.1.0' },
    }),
    'services/bridge/src/bridge.int.test.ts': "import '@backhaul/testing';\n",
  });
  expect(checkTiers(folder)).toEqual([]);
});

/** What the project's own lint configuration says of the files in `folder`. */
async function lint(folder: string): Promise<string> {
  await cp(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
  await cp(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
  await mkdir(join(folder, 'node_modules/@backhaul'), { recursive: true });
  for (const name of ['runtime', 'queue', 'testing', 'events', 'jobs'])
    await symlink(join(folder, 'packages', name), join(folder, 'node_modules/@backhaul', name));
  return new Promise((resolve) => {
    // Without --type-aware: the cycle rule needs no types, and the fixture has no node_modules to take them from.
    execFile(process.execPath, [join(root, 'node_modules/oxlint/bin/oxlint'), '--format', 'unix'], { cwd: folder }, (_error, stdout) => resolve(stdout));
  });
}

test('The lint rules fail on a planted cycle of files', async () => {
  const folder = await plant({
    'packages/runtime/src/a.ts': "import { b } from './b.ts';\nexport const a = (): number => b();\n",
    'packages/runtime/src/b.ts': "import { a } from './a.ts';\nexport const b = (): number => a();\n",
  });
  const output = await lint(folder);
  expect(output).toMatch(/runtime\/src\/a\.ts:.*no-cycle/);
});

test('The lint rules fail on a planted cycle of types', async () => {
  const folder = await plant({
    'packages/runtime/src/a.ts': "import type { B } from './b.ts';\nexport type A = { b?: B };\n",
    'packages/runtime/src/b.ts': "import type { A } from './a.ts';\nexport type B = { a?: A };\n",
  });
  expect(await lint(folder)).toMatch(/runtime\/src\/a\.ts:.*no-cycle/);
});

test('The lint rules fail on a planted cycle of files across packages', async () => {
  const folder = await plant({
    'packages/runtime/src/index.ts': "import { queue } from '@backhaul/queue';\nexport const one = (): unknown => queue;\n",
  });
  expect(await lint(folder)).toMatch(/queue\/src\/index\.ts:.*no-cycle/);
});

test('The size check fails on a job longer than 200 lines and a source longer than 400', async () => {
  const lines = (count: number) => '// line\n'.repeat(count);
  const folder = await plant({
    'packages/jobs/src/media/long.ts': lines(201),
    'packages/jobs/src/media/fits.ts': lines(200),
    'packages/queue/src/long.ts': lines(401),
    'packages/queue/src/fits.ts': lines(400),
    'packages/queue/src/long.test.ts': lines(501),
  });
  expect(checkSizes(folder).map(({ file }) => file)).toEqual([
    'packages/jobs/src/media/long.ts',
    'packages/queue/src/long.test.ts',
    'packages/queue/src/long.ts',
  ]);
});

test('The lockfile check fails on a registry address and accepts workspace links', async () => {
  const folder = await plant({
    'package-lock.json':
      '{ "packages": {\n  "a": { "resolved": "packages/queue", "link": true },\n  "b": { "resolved": "https://registry.invalid/b.tgz" }\n} }\n',
  });
  expect(checkLockfile(folder)).toMatchObject([{ line: 3, rule: 'no-registry-address' }]);
});

test('The lockfile check fails when the entry for another platform is missing, wherever it could be', async () => {
  const packages = {
    'node_modules/a': { optionalDependencies: { 'a-linux': '1.0.0', 'a-darwin': '1.0.0' } },
    'node_modules/a-linux': {},
    'node_modules/b/node_modules/a': { optionalDependencies: { 'a-linux': '1.0.0', 'a-darwin': '1.0.0' } },
    'node_modules/b/node_modules/a-darwin': {},
  };
  const folder = await plant({ 'package-lock.json': JSON.stringify({ packages }, null, 2) });
  expect(checkLockfile(folder)).toMatchObject([
    { line: 3, rule: 'complete-lockfile', problem: 'has no entry for a-darwin, an optional dependency of node_modules/a' },
  ]);
});

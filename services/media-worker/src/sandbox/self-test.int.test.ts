import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PATH } from '../sample-media.ts';
import { guards, sandboxed } from './for-tests.ts';
import { type Guards, NO_GUARDS } from './guards.ts';
import { SANDBOX_LAYERS, SandboxIncomplete, missingLayers, testSandbox } from './self-test.ts';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'self-test-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const missing = async (changed: Partial<Guards>) =>
  missingLayers(await testSandbox({ path: PATH, guards: { ...guards, ...changed } }, { ffmpeg: '/usr/bin/ffmpeg', root }));

test.skipIf(!sandboxed)('with every guard of this machine every layer holds (E-20)', async () => {
  expect(await missing({})).toEqual([]);
  expect(await readdir(root)).toEqual([]);
});

test('without any guard every layer is reported as missing', async () => {
  expect(await missing(NO_GUARDS)).toEqual([...SANDBOX_LAYERS]);
});

test('probes that cannot be started prove nothing', async () => {
  expect(missingLayers(await testSandbox({ path: '/nowhere', guards }, { ffmpeg: '/nowhere/ffmpeg', root }))).toEqual([...SANDBOX_LAYERS]);
});

test.skipIf(!sandboxed).each<[string, Partial<Guards>, string[]]>([
  ['the filter', { filter: undefined }, ['files', 'processes']],
  ['bubblewrap', { bwrap: false }, ['files', 'processes']],
  ['bubblewrap and unshare', { bwrap: false, unshare: undefined }, ['network', 'files', 'processes']],
  ['bubblewrap and setpriv', { bwrap: false, setpriv: undefined }, ['files', 'processes', 'parentDeath']],
  ['prlimit', { prlimit: false }, ['memory', 'fileSize', 'openFiles']],
])('without %s exactly what it held is missing', async (_name, changed, layers) => {
  expect(await missing(changed)).toEqual(layers);
});

test('whoever asked for all of it is told what is missing and what brings it', () => {
  expect(new SandboxIncomplete(['network', 'memory']).message).toMatch(/network \(install bubblewrap.*memory \(install util-linux/s);
});

import { access, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { folderLocalFiles } from './folder-local-files.ts';

let base: string;
let folder: string;
let outside: string;

beforeEach(async () => {
  base = await realpath(await mkdtemp(join(tmpdir(), 'local-files-')));
  folder = join(base, 'folder');
  outside = join(base, 'outside');
  await mkdir(join(folder, 'sub'), { recursive: true });
  await mkdir(outside);
  await writeFile(join(folder, 'a'), 'x');
  await writeFile(join(folder, 'sub', 'b'), 'x');
  await writeFile(join(outside, 'precious'), 'x');
});
afterEach(() => rm(base, { recursive: true, force: true }));

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

test('files in the folder and below it are removed; again, they are absent', async () => {
  const files = folderLocalFiles(folder);
  for (const path of [join(folder, 'a'), join(folder, 'sub', 'b')]) {
    expect(await files.remove(path)).toBe('removed');
    expect(await exists(path)).toBe(false);
    expect(await files.remove(path)).toBe('absent');
  }
  expect(await files.remove(join(folder, 'no', 'such', 'folder', 'c'))).toBe('absent');
});

test('the folder may be given through a symbolic link', async () => {
  await symlink(folder, join(base, 'link'));
  expect(await folderLocalFiles(join(base, 'link')).remove(join(base, 'link', 'a'))).toBe('removed');
  expect(await folderLocalFiles(join(base, 'link')).remove(join(base, 'link', 'gone', 'a'))).toBe('absent');
});

test('no road leads outside', async () => {
  await symlink(outside, join(folder, 'road'));
  await mkdir(join(base, 'folder-2'));
  await writeFile(join(base, 'folder-2', 'precious'), 'x');
  const files = folderLocalFiles(folder);
  for (const path of [
    join(outside, 'precious'),
    `${folder}/road/precious`,
    `${folder}/../outside/precious`,
    `${folder}/sub/../../outside/precious`,
    `${folder}-2/precious`,
    `${folder}/road/none/x`,
    `${folder}\0/a`,
  ]) {
    expect([path, await files.remove(path)]).toEqual([path, path.endsWith('road/none/x') ? 'absent' : 'outside']);
  }
  expect(await exists(join(outside, 'precious'))).toBe(true);
  expect(await exists(join(base, 'folder-2', 'precious'))).toBe(true);
});

test('a link in the folder is removed, what it points at stays', async () => {
  await symlink(join(outside, 'precious'), join(folder, 'link'));
  expect(await folderLocalFiles(folder).remove(join(folder, 'link'))).toBe('removed');
  expect(await exists(join(outside, 'precious'))).toBe(true);
});

test('a folder is not a file, and neither is the folder itself', async () => {
  expect(await folderLocalFiles(folder).remove(join(folder, 'sub'))).toBe('not_a_file');
  expect(await folderLocalFiles(folder).remove(`${folder}/.`)).toBe('not_a_file');
  expect(await folderLocalFiles(folder).remove(folder)).toBe('outside');
  expect(await exists(join(folder, 'sub', 'b'))).toBe(true);
});

test('when the folder is not there, or none is configured, nothing counts as gone', async () => {
  expect(await folderLocalFiles(join(base, 'not-mounted')).remove(join(base, 'not-mounted', 'a'))).toBe('no_folder');
  expect(await folderLocalFiles(undefined).remove(join(folder, 'a'))).toBe('outside');
  expect(await exists(join(folder, 'a'))).toBe(true);
});

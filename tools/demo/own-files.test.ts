import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ownFiles } from './own-files.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'own-files-'));
  await Promise.all(['Photo.JPG', 'clip.mp4', 'note.opus', 'text.txt'].map((name) => writeFile(join(folder, name), 'x')));
  await writeFile(join(folder, 'empty.png'), '');
  await mkdir(join(folder, 'folder.png'));
});
afterAll(() => rm(folder, { recursive: true }));

test('the extension says what a file is, in any case, and names count from the given folder', async () => {
  expect(await ownFiles(['Photo.JPG', join(folder, 'clip.mp4'), './note.opus'], folder)).toEqual([
    { path: join(folder, 'Photo.JPG'), name: 'Photo.JPG', kind: 'image', contentType: 'image/jpeg' },
    { path: join(folder, 'clip.mp4'), name: 'clip.mp4', kind: 'video', contentType: 'video/mp4' },
    { path: join(folder, 'note.opus'), name: 'note.opus', kind: 'audio', contentType: 'audio/ogg' },
  ]);
});

test('every file that cannot be sent is named with its reason, all at once', async () => {
  await expect(ownFiles(['Photo.JPG', 'gone.jpg', 'text.txt', 'empty.png', 'folder.png'], folder)).rejects.toMatchObject({
    problems: [
      `gone.jpg: there is no such file (looked for ${join(folder, 'gone.jpg')})`,
      expect.stringContaining('text.txt: .txt is no extension that the demo knows; expected one of .jpg') as string,
      'empty.png: it is empty',
      'folder.png: it is not a file',
    ],
  });
});

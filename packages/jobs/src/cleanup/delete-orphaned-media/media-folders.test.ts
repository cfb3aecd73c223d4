import { expect, test } from 'vitest';
import type { StoredObject } from '../ports.ts';
import { mediaFolders } from './media-folders.ts';

const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;

async function folders(...objects: [key: string, modifiedAt?: number][]) {
  async function* listing(): AsyncGenerator<StoredObject> {
    for (const [key, modifiedAt = 0] of objects) yield { key, modifiedAt: new Date(modifiedAt) };
  }
  const found = [];
  for await (const folder of mediaFolders(listing())) found.push([folder.messageId, folder.keys.length, folder.modifiedAt.getTime()]);
  return found;
}

test('gathers the objects of each message, as old as the youngest', async () => {
  expect(await folders([`media/${id(1)}/a`, 5], [`media/${id(1)}/r/b`, 9], [`media/${id(2)}/a`, 1])).toEqual([
    [id(1), 2, 9],
    [id(2), 1, 1],
  ]);
});

test('keys of another layout belong to nobody', async () => {
  expect(
    await folders(['media/x'], ['media/thumbs/a'], [`media/${id(1)}`], [`media/${id(1)}/`], [`media/${id(1)}/a`], [`media/${id(1)}x/a`], ['media/z']),
  ).toEqual([[id(1), 1, 0]]);
});

test('an empty listing has no folders', async () => {
  expect(await folders()).toEqual([]);
});

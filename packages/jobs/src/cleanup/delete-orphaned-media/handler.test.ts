import { expect, test } from 'vitest';
import { contextWith, memoryCursors, memoryObjects } from '../memory-ports.ts';
import type { MediaOwners } from '../ports.ts';
import { deleteOrphanedMediaHandler } from './handler.ts';

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const folder = (n: number) => [`media/${id(n)}/r1/image.jpg`, `media/${id(n)}/r1/thumbnail.jpg`];

function owners(existing: readonly string[], shown: readonly string[] = []): MediaOwners {
  return {
    existing: async (ids) => new Set(ids.filter((each) => existing.includes(each))),
    shown: async (urls) => new Set(urls.filter((each) => shown.includes(each))),
  };
}

test('deletes whole folders without a message, and nothing else', async () => {
  const objects = memoryObjects([...folder(1), ...folder(2), ...folder(3), 'media/readme.txt', 'media/not-an-id/x', 'uploads/x']);
  const outcome = await deleteOrphanedMediaHandler(
    { type: 'orphaned_media' },
    contextWith({ objects, cursors: memoryCursors(), mediaOwners: owners([id(2)]) }),
  );
  expect(outcome).toMatchObject({ status: 'done', result: { scannedObjects: 6, deletedObjects: 4, failedObjects: 0, complete: true } });
  expect([...objects.keys].toSorted()).toEqual([...folder(2), 'media/not-an-id/x', 'media/readme.txt', 'uploads/x'].toSorted());
});

test('a folder of which a forwarded message or a story shows one object stays whole', async () => {
  const objects = memoryObjects(folder(1));
  const mediaOwners = owners([], [objects.publicUrl(`media/${id(1)}/r1/thumbnail.jpg`)]);
  await deleteOrphanedMediaHandler({ type: 'orphaned_media' }, contextWith({ objects, cursors: memoryCursors(), mediaOwners }));
  expect(objects.keys.size).toBe(2);
});

test('young objects stay, because their message may not be written yet', async () => {
  const objects = memoryObjects(folder(1), { modifiedAt: new Date(Date.now() - 23 * 3_600_000) });
  await deleteOrphanedMediaHandler({ type: 'orphaned_media' }, contextWith({ objects, cursors: memoryCursors(), mediaOwners: owners([]) }));
  expect(objects.keys.size).toBe(2);
  await deleteOrphanedMediaHandler(
    { type: 'orphaned_media', data: { olderThanHours: 22 } },
    contextWith({ objects, cursors: memoryCursors(), mediaOwners: owners([]) }),
  );
  expect(objects.keys.size).toBe(0);
});

test('a run that ends early is continued by the next one where it stopped', async () => {
  const objects = memoryObjects([1, 2, 3, 4].flatMap(folder));
  const cursors = memoryCursors();
  const ports = { objects, cursors, mediaOwners: owners([id(1), id(2), id(3)]) };
  const first = await deleteOrphanedMediaHandler({ type: 'orphaned_media', data: { limit: 4 } }, contextWith(ports));
  expect(first).toMatchObject({ result: { scannedObjects: 4, complete: false } });
  const second = await deleteOrphanedMediaHandler({ type: 'orphaned_media' }, contextWith(ports));
  expect(second).toMatchObject({ result: { scannedObjects: 4, deletedObjects: 2, complete: true } });
  expect(cursors.saved.size).toBe(0);
});

test('objects that cannot be deleted are counted, not fatal', async () => {
  const objects = memoryObjects(folder(1), { undeletable: [folder(1)[0] ?? ''] });
  const outcome = await deleteOrphanedMediaHandler({ type: 'orphaned_media' }, contextWith({ objects, cursors: memoryCursors(), mediaOwners: owners([]) }));
  expect(outcome).toMatchObject({ status: 'done', result: { deletedObjects: 1, failedObjects: 1 } });
});

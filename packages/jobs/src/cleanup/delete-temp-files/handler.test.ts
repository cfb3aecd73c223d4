import { expect, test } from 'vitest';
import { contextWith, memoryObjects, memoryRows } from '../memory-ports.ts';
import type { LocalFiles } from '../ports.ts';
import { deleteTempFilesHandler } from './handler.ts';

const localFiles: LocalFiles = { remove: async (path) => (path.startsWith('/tmp/files/') ? 'removed' : 'outside') };

test('a key goes from the bucket, an absolute path from the folder, and their rows with them', async () => {
  const temporaryFiles = memoryRows([
    { id: '1', path: 'tmp/upload-1' },
    { id: '2', path: '/tmp/files/2' },
  ]);
  const objects = memoryObjects(['tmp/upload-1', 'tmp/other']);
  const outcome = await deleteTempFilesHandler({ type: 'temp_files' }, contextWith({ temporaryFiles, objects, localFiles }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 2, deletedObjects: 2, refused: 0, complete: true } });
  expect(temporaryFiles.remaining).toEqual([]);
  expect([...objects.keys]).toEqual(['tmp/other']);
});

test('a path outside the folder keeps its row, is counted, and holds nobody up', async () => {
  const temporaryFiles = memoryRows(['/etc/passwd', '/etc/shadow', '/tmp/files/a', '/tmp/files/b'].map((path) => ({ id: path, path })));
  const outcome = await deleteTempFilesHandler({ type: 'temp_files' }, contextWith({ temporaryFiles, objects: memoryObjects([]), localFiles }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 2, refused: 2 } });
  expect(temporaryFiles.remaining.map((row) => row.id)).toEqual(['/etc/passwd', '/etc/shadow']);
});

test('an object that cannot be deleted keeps its row and fails the try', async () => {
  const temporaryFiles = memoryRows([{ id: '1', path: 'stuck' }]);
  const objects = memoryObjects(['stuck'], { undeletable: ['stuck'] });
  await expect(deleteTempFilesHandler({ type: 'temp_files' }, contextWith({ temporaryFiles, objects, localFiles }))).rejects.toMatchObject({
    code: 'not_disposed',
  });
  expect(temporaryFiles.remaining).toHaveLength(1);
});

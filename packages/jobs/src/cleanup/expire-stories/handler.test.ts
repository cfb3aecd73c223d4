import { expect, test } from 'vitest';
import { contextWith, mediaRow, memoryObjects, memoryRows } from '../memory-ports.ts';
import { expireStoriesHandler } from './handler.ts';

const url = (key: string) => `https://media.example/${key}`;

test('deletes the objects of a story, then its row', async () => {
  const stories = memoryRows([mediaRow('1', [url('stories/1.jpg'), url('stories/1-small.jpg')]), mediaRow('2', []), mediaRow('3', [url('stories/3.jpg')])]);
  const objects = memoryObjects(['stories/1.jpg', 'stories/1-small.jpg', 'stories/3.jpg', 'stories/live.jpg']);
  const outcome = await expireStoriesHandler({ type: 'stories' }, contextWith({ stories, objects }));
  expect(outcome).toEqual({ status: 'done', result: { rows: 3, deletedObjects: 3, batches: 2, complete: true } });
  expect(stories.remaining).toEqual([]);
  expect([...objects.keys]).toEqual(['stories/live.jpg']);
  expect(stories.asked[0]).toBe(24 * 3_600_000);
});

test('run twice, the second run finds nothing and changes nothing', async () => {
  const stories = memoryRows([mediaRow('1', [url('a')])]);
  const ports = { stories, objects: memoryObjects(['a']) };
  await expireStoriesHandler({ type: 'stories' }, contextWith(ports));
  const again = await expireStoriesHandler({ type: 'stories' }, contextWith(ports));
  expect(again).toMatchObject({ status: 'done', result: { rows: 0, deletedObjects: 0, complete: true } });
});

test('a row whose object is gone already, because a run died in between, is deleted', async () => {
  const stories = memoryRows([mediaRow('1', [url('gone')])]);
  await expireStoriesHandler({ type: 'stories' }, contextWith({ stories, objects: memoryObjects([]) }));
  expect(stories.remaining).toEqual([]);
});

test('an object that another row shows, and one that is not ours, stay', async () => {
  const stories = memoryRows([mediaRow('1', [url('shared'), 'https://elsewhere.example/x'], [url('shared')])]);
  const objects = memoryObjects(['shared']);
  await expireStoriesHandler({ type: 'stories' }, contextWith({ stories, objects }));
  expect(stories.remaining).toEqual([]);
  expect([...objects.keys]).toEqual(['shared']);
});

test('a story whose object cannot be deleted is kept, the others go, and the job is tried again', async () => {
  const stories = memoryRows(['1', '2', '3', '4', '5'].map((id) => mediaRow(id, [url(id)])));
  const objects = memoryObjects(['1', '2', '3', '4', '5'], { undeletable: ['1', '2'] });
  await expect(expireStoriesHandler({ type: 'stories' }, contextWith({ stories, objects }))).rejects.toMatchObject({ code: 'not_disposed' });
  expect(stories.remaining.map((row) => row.id)).toEqual(['1', '2']);
});

test('the age and the limit of the event count', async () => {
  const stories = memoryRows(['1', '2', '3', '4', '5'].map((id) => mediaRow(id)));
  const outcome = await expireStoriesHandler({ type: 'stories', data: { olderThanHours: 1, limit: 3 } }, contextWith({ stories, objects: memoryObjects([]) }));
  expect(outcome).toMatchObject({ result: { rows: 3, complete: false } });
  expect(stories.asked[0]).toBe(3_600_000);
});

test('when the store is away the rows stay and the failure is passed on', async () => {
  const stories = memoryRows([mediaRow('1', [url('1')])]);
  const objects = { ...memoryObjects([]), deleteMany: () => Promise.reject(new Error('store away')) };
  await expect(expireStoriesHandler({ type: 'stories' }, contextWith({ stories, objects }))).rejects.toThrow('store away');
  expect(stories.remaining).toHaveLength(1);
});

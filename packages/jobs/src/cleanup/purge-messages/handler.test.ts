import { expect, test } from 'vitest';
import { contextWith, mediaRow, memoryObjects, memoryRows } from '../memory-ports.ts';
import { purgeMessagesHandler } from './handler.ts';

const url = (key: string) => `https://media.example/${key}`;

test('deletes everything under the folder of the message, what its URLs show, and the row', async () => {
  const messages = memoryRows([mediaRow('m1', [url('media/m1/a/image.jpg'), url('uploads/m1.jpg')])]);
  const objects = memoryObjects(['media/m1/a/image.jpg', 'media/m1/a/thumbnail.jpg', 'uploads/m1.jpg', 'media/m10/a/image.jpg']);
  const outcome = await purgeMessagesHandler({ type: 'messages' }, contextWith({ messages, objects }));
  expect(outcome).toMatchObject({ status: 'done', result: { rows: 1, deletedObjects: 3, complete: true } });
  expect([...objects.keys]).toEqual(['media/m10/a/image.jpg']);
  expect(messages.asked[0]).toBe(30 * 24 * 3_600_000);
});

test('a text message costs no request to the store', async () => {
  const messages = memoryRows([mediaRow('m1'), mediaRow('m2')]);
  const objects = memoryObjects(['media/m3/x']);
  await purgeMessagesHandler({ type: 'messages' }, contextWith({ messages, objects }));
  expect(objects.listed).toEqual([]);
  expect(messages.remaining).toEqual([]);
});

test('media that a forwarded message still shows stay, the row goes', async () => {
  const shown = url('media/m1/a/image.jpg');
  const messages = memoryRows([mediaRow('m1', [shown, url('media/m1/a/thumbnail.jpg')], [shown])]);
  const objects = memoryObjects(['media/m1/a/image.jpg', 'media/m1/a/thumbnail.jpg', 'media/m1/a/hd.jpg']);
  await purgeMessagesHandler({ type: 'messages' }, contextWith({ messages, objects }));
  expect(messages.remaining).toEqual([]);
  expect(objects.keys.has('media/m1/a/image.jpg')).toBe(true);
  expect(objects.keys.has('media/m1/a/hd.jpg')).toBe(true);
});

import { events } from '@backhaul/events';
import { expect, test } from 'vitest';
import { prepareEvent, safeName } from './publish.ts';

const told = { example: false, unchecked: false };

test('every event’s example can be published', () => {
  for (const { routingKey, example } of events) {
    const prepared = prepareEvent({ ...told, routingKey, example: true });
    expect(JSON.parse(prepared.body)).toEqual(example);
  }
});

test('--data goes over the example, and --id is the message id', () => {
  const prepared = prepareEvent({ ...told, routingKey: 'notification.push', example: true, data: '{"title":"Hello"}', id: 'm-1' });
  expect(prepared.messageId).toBe('m-1');
  expect(JSON.parse(prepared.body)).toMatchObject({ type: 'push', title: 'Hello', fcmToken: 'device-token-1' });
});

test('--file fills in what a media event needs, and makes a message of its own', () => {
  const prepared = prepareEvent({ ...told, routingKey: 'media.image', file: '/photos/über Ostern.JPG' });
  const body = JSON.parse(prepared.body) as Record<string, string>;
  expect(body).toMatchObject({ type: 'image', originalName: 'über Ostern.JPG', s3Key: prepared.upload?.key });
  expect(prepared.upload).toMatchObject({ key: `uploads/${body['messageId']}/u-ber-Ostern.JPG`, contentType: 'image/jpeg' });
  expect(prepared.message).toEqual({ id: body['messageId'], senderId: body['userId'], content: 'über Ostern.JPG' });
});

test('--file with an existing message makes none', () => {
  const data = JSON.stringify({ messageId: '0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11', userId: 'u1' });
  const prepared = prepareEvent({ ...told, routingKey: 'media.video', file: 'clip.mov', data });
  expect(prepared.message).toBeUndefined();
  expect(JSON.parse(prepared.body)).toMatchObject({ userId: 'u1', s3Key: 'uploads/0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11/clip.mov' });
});

test('--unchecked sends what it is given', () => {
  expect(prepareEvent({ ...told, routingKey: 'media.image', unchecked: true, data: '{oops' }).body).toBe('{oops');
});

test.each([
  [{ routingKey: 'media.pictures' }, 'there are media.image'],
  [{ routingKey: 'cleanup.stories', file: 'a.jpg' }, '--file is for media events'],
  [{ routingKey: 'media.image', file: 'a.jpg', example: true }, 'only one of them'],
  [{ routingKey: 'media.image', data: '[1]' }, 'expected a JSON object'],
  [{ routingKey: 'media.image', data: '{' }, '--data is no JSON'],
  [{ routingKey: 'media.image', unchecked: true }, 'give --data'],
  [{ routingKey: 'notification.email', data: '{"userId":"u","title":1,"body":"b"}' }, 'title:'],
])('what cannot be published is refused with the reason: %j', (wrong, reason) => {
  expect(() => prepareEvent({ ...told, ...wrong })).toThrow(reason);
});

test.each([
  ['photo.jpg', 'photo.jpg'],
  ['../../etc/passwd', 'etc-passwd'],
  ['.hidden', 'hidden'],
  ['写真.png', 'png'],
  ['', 'file'],
  [`${'a'.repeat(300)}.jpg`, `${'a'.repeat(96)}.jpg`],
])('a file’s name is made safe for a key: %j', (name, safe) => {
  expect(safeName(name)).toBe(safe);
});

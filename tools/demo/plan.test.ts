import { createDecoder, events } from '@backhaul/events';
import { expect, test } from 'vitest';
import type { MediaFile } from './own-files.ts';
import { planEvents } from './plan.ts';

const file = (name: string, kind: MediaFile['kind'], contentType: string): MediaFile => ({ path: name, name, kind, contentType });

test('the fleet understands every event of the demo but the one that it must refuse', () => {
  const photo = file('a.jpg', 'image', 'image/jpeg');
  const plan = planEvents([photo, file('b.mp4', 'video', 'video/mp4'), file('c.ogg', 'audio', 'audio/ogg')], photo);
  const decode = createDecoder({ events });
  for (const { routingKey, body, messageId, expected } of plan) {
    const decoded = decode({ routingKey, body, messageId, contentEncoding: undefined, headers: {} });
    expect({ routingKey, understood: decoded.ok }).toEqual({ routingKey, understood: expected === 'done' });
  }
  expect(plan.map(({ routingKey }) => routingKey)).toEqual([
    'media.image',
    'media.video',
    'media.audio',
    'notification.push',
    'notification.push',
    'notification.push',
    'notification.email',
    'notification.sms',
    'cleanup.stories',
    'media.image',
  ]);
});

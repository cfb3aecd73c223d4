import type { PushMessage } from '@backhaul/jobs/notification';
import { expect, test } from 'vitest';
import { toFcm } from './fcm-message.ts';

const message: PushMessage = { token: 'device-1', title: 'Family', body: 'Dinner?', data: { chatId: '42' }, collapseKey: 'c0ffee' };
const with_ = (options: PushMessage['options']) => toFcm({ ...message, options }, 1_700_000_000_500);

test('without options a push is shown at once, with the usual sound and the collapse key on all three platforms', () => {
  expect(toFcm(message)).toEqual({
    token: 'device-1',
    notification: { title: 'Family', body: 'Dinner?' },
    data: { chatId: '42' },
    android: { priority: 'high', collapseKey: 'c0ffee', notification: { tag: 'c0ffee' } },
    apns: {
      headers: { 'apns-priority': '10', 'apns-collapse-id': 'c0ffee', 'apns-push-type': 'alert' },
      payload: { aps: { sound: 'default' } },
    },
    webpush: { headers: { Topic: 'c0ffee', Urgency: 'high' } },
  });
});

test('every option reaches the platforms that know it', () => {
  const image = 'https://cdn.example.com/a.png';
  const link = 'https://chat.example.com/42';
  expect(with_({ priority: 'normal', channelId: 'family', badge: 3, sound: 'ping', mutableContent: true, ttlSeconds: 60, link, image })).toMatchObject({
    notification: { imageUrl: image },
    android: { priority: 'normal', ttl: 60_000, notification: { channelId: 'family', notificationCount: 3, sound: 'ping' } },
    apns: {
      headers: { 'apns-priority': '5', 'apns-expiration': '1700000060' },
      payload: { aps: { badge: 3, sound: 'ping', mutableContent: true } },
      fcmOptions: { imageUrl: image },
    },
    webpush: { headers: { Urgency: 'normal', TTL: '60' }, fcmOptions: { link } },
  });
});

test('a data-only push has nothing to show, and is sent to iOS as one for the background', () => {
  const sent = with_({ dataOnly: true, sound: 'ping', priority: 'high', link: 'https://chat.example.com/42' });
  expect(sent.notification).toBeUndefined();
  expect(sent.android).toEqual({ priority: 'high', collapseKey: 'c0ffee' });
  expect(sent.apns).toEqual({
    headers: { 'apns-priority': '5', 'apns-collapse-id': 'c0ffee', 'apns-push-type': 'background' },
    payload: { aps: { contentAvailable: true } },
  });
  expect(sent.webpush).toEqual({ headers: { Topic: 'c0ffee', Urgency: 'high' } });
});

test('a lifetime of nothing is now or never on each platform', () => {
  expect(with_({ ttlSeconds: 0 })).toMatchObject({
    android: { ttl: 0 },
    apns: { headers: { 'apns-expiration': '0' } },
    webpush: { headers: { TTL: '0' } },
  });
});

test('silence is asked for by none, and the badge can be taken away', () => {
  const sent = with_({ sound: 'none', badge: 0 });
  expect(sent.apns?.payload?.aps).toEqual({ badge: 0 });
});

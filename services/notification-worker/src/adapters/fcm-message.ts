import type { PushMessage } from '@backhaul/jobs/notification';
import type { Message } from 'firebase-admin/messaging';

/**
 * A push in FCM's words for Android, iOS and browsers.
 *
 * The collapse key goes where each platform looks for it, so that a resend
 * replaces the first instead of showing twice.
 *
 * @param nowMs iOS wants the time at which a push expires, not for how long it is good
 */
export function toFcm({ token, title, body, data, collapseKey, options = {} }: PushMessage, nowMs = Date.now()): Message {
  const { dataOnly = false, ttlSeconds, image } = options;
  const shown = !dataOnly;
  return {
    token,
    // A data-only push must not have these: with them the system shows it, whatever the app wants.
    ...(shown ? { notification: { title, body, ...(image === undefined ? {} : { imageUrl: image }) } } : {}),
    data: { ...data },
    android: {
      priority: options.priority ?? 'high',
      collapseKey,
      ...(ttlSeconds === undefined ? {} : { ttl: ttlSeconds * 1_000 }),
      ...(shown ? { notification: androidNotification(collapseKey, options) } : {}),
    },
    apns: apns(collapseKey, options, shown, nowMs),
    webpush: {
      headers: {
        Topic: collapseKey,
        Urgency: options.priority ?? 'high',
        // Push services refuse a push without TTL; FCM fills in its own when it is not given here.
        ...(ttlSeconds === undefined ? {} : { TTL: String(ttlSeconds) }),
      },
      ...(shown && options.link !== undefined ? { fcmOptions: { link: options.link } } : {}),
    },
  };
}

type Options = NonNullable<PushMessage['options']>;

function androidNotification(tag: string, { channelId, badge, sound }: Options) {
  return {
    tag,
    ...(channelId === undefined ? {} : { channelId }),
    ...(badge === undefined ? {} : { notificationCount: badge }),
    ...(sound === undefined || sound === 'none' ? {} : { sound }),
  };
}

function apns(collapseKey: string, options: Options, shown: boolean, nowMs: number) {
  const { badge, sound = 'default', ttlSeconds } = options;
  // Apple drops a push in the background that claims priority 10.
  const priority = shown && options.priority !== 'normal' ? '10' : '5';
  return {
    headers: {
      'apns-priority': priority,
      'apns-collapse-id': collapseKey,
      'apns-push-type': shown ? 'alert' : 'background',
      // 0 means "once, now": a time that has just passed would mean the same, but only to a clock that agrees.
      ...(ttlSeconds === undefined ? {} : { 'apns-expiration': ttlSeconds === 0 ? '0' : String(Math.floor(nowMs / 1_000) + ttlSeconds) }),
    },
    payload: {
      aps: {
        ...(badge === undefined ? {} : { badge }),
        ...(shown && sound !== 'none' ? { sound } : {}),
        ...(shown ? {} : { contentAvailable: true }),
        ...(shown && options.mutableContent === true ? { mutableContent: true } : {}),
      },
    },
    ...(shown && options.image !== undefined ? { fcmOptions: { imageUrl: options.image } } : {}),
  };
}

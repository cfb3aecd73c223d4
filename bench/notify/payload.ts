import { notificationPush } from '@backhaul/events';

/** What every job of the contest carries, ours and the peers': one push with a token. */
export const payload = { ...notificationPush.example, fcmToken: 'd'.repeat(142) };

import { randomUUID } from 'node:crypto';
import type { World } from './world.ts';

/** A load of pushes, each to a device of its own, so that what the fake saw can be compared with what was published. */
export interface Pushes {
  /** Message ids by device token. */
  readonly published: Map<string, string>;
  /** Publishes this many more, at most 100 unconfirmed at once. */
  publish(count: number): Promise<void>;
  /** Publishes at a steady rate until the signal aborts. A publish that the broker did not confirm is repeated with the same id, as a backend's outbox would. */
  stream(perSecond: number, signal: AbortSignal): Promise<void>;
  /** How many devices got nothing, and how many got more than one. */
  tally(): Promise<{ lost: number; duplicated: number }>;
}

/** Starts with nothing published. */
export function createPushes(world: World): Pushes {
  const published = new Map<string, string>();

  async function one(): Promise<void> {
    const fcmToken = `token-${randomUUID()}`;
    const messageId = randomUUID();
    published.set(fcmToken, messageId);
    const body = { type: 'push', userId: randomUUID(), title: 'Load', body: 'test', fcmToken };
    for (;;) {
      try {
        await world.publish('notification.push', body, messageId);
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== 'broker_unavailable') throw error;
      }
    }
  }

  return {
    published,
    async publish(count) {
      for (let sent = 0; sent < count; sent += 100) await Promise.all(Array.from({ length: Math.min(100, count - sent) }, one));
    },
    async stream(perSecond, signal) {
      const underWay: Promise<void>[] = [];
      await new Promise<void>((resolve) => {
        const timer = setInterval(() => underWay.push(one()), 1_000 / perSecond);
        signal.addEventListener('abort', () => {
          clearInterval(timer);
          resolve();
        });
      });
      await Promise.all(underWay);
    },
    async tally() {
      const seen = new Map<string, number>();
      for (const { key } of await world.fakes.effects({ service: 'fcm', kind: 'push' })) seen.set(key, (seen.get(key) ?? 0) + 1);
      const counts = [...published.keys()].map((token) => seen.get(token) ?? 0);
      return { lost: counts.filter((count) => count === 0).length, duplicated: counts.filter((count) => count > 1).length };
    },
  };
}

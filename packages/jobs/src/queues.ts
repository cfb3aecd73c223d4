import { defineQueue, exponential } from '@backhaul/queue/job';

/** Pictures, videos and sounds. A crash here may be the medium's fault, but a rollout during a long video is not: four runs. */
export const media = defineQueue({ name: 'media', concurrency: 2, maxStalls: 3 });

/** Push, mail and text messages, mostly in envelopes: five of those at once, or five messages that travel alone. */
export const notification = defineQueue({ name: 'notification', concurrency: 5, maxStalls: 3 });

/** Housekeeping. One at a time: it shares the database with the chat. */
export const cleanup = defineQueue({ name: 'cleanup', concurrency: 1, maxStalls: 3 });

/** Every queue, in the order in which tables show them. */
export const queues = [media, notification, cleanup] as const;

/** Three retries after the first try: 5 s, 10 s, 20 s. */
export const standardRetry = exponential({ attempts: 4, firstDelayMs: 5_000 });

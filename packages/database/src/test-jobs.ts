import { hash, randomUUID } from 'node:crypto';
import type { NewJob } from './jobs.ts';

/** For tests: a job about to be accepted. */
export function newJob(over: Partial<NewJob> = {}): NewJob {
  const payloadJson = over.payloadJson ?? '{"type":"image"}';
  return {
    messageId: randomUUID(),
    queue: 'media',
    name: 'media.process-image',
    priority: 2,
    bodyHash: hash('sha256', payloadJson, 'buffer'),
    payloadJson,
    traceparent: null,
    ...over,
  };
}

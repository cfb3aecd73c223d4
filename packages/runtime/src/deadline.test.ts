import { expect, test } from 'vitest';
import { DeadlineExceeded, pause, withDeadline } from './deadline.ts';

test('Work that is in time keeps its value or its failure', async () => {
  expect(await withDeadline('work', 1_000, Promise.resolve(7))).toBe(7);
  await expect(withDeadline('work', 1_000, Promise.reject(new Error('own')))).rejects.toThrow('own');
});

test('Work that is late is given up by name, and its late failure does not end the process', async () => {
  let fail: (error: Error) => void = () => undefined;
  const late = withDeadline('the mail', 10, new Promise<never>((_resolve, reject) => (fail = reject)));
  await expect(late).rejects.toThrow(DeadlineExceeded);
  await expect(late).rejects.toThrow('the mail took longer than 10 ms');
  // An unhandled rejection would fail this run.
  fail(new Error('late'));
  await pause(1);
});

test('A pause ends at once when its signal aborts, also one that has before', async () => {
  const stop = new AbortController();
  const paused = pause(60_000, stop.signal);
  stop.abort();
  await paused;
  await pause(60_000, stop.signal);
});

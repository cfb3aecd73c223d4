import { setTimeout as delay } from 'node:timers/promises';

/**
 * Run `check` until it stops throwing, and return its value. The last resort: prefer a signal (an event,
 * a promise, `FakesClient.waitFor`) where there is one.
 *
 * @param check throws (or rejects) while the awaited state is not there; its message says what is missing
 * @param timeoutMs give up after this long (default 10,000)
 * @param intervalMs pause between two tries (default 25)
 * @throws Error that names the time and carries the last failure as its cause
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 25 }: { timeoutMs?: number; intervalMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() >= deadline) {
        const last = error instanceof Error ? error.message : String(error);
        throw new Error(`not so after ${timeoutMs} ms: ${last}`, { cause: error });
      }
    }
    await delay(intervalMs);
  }
}

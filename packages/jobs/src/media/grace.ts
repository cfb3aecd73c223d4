import { pause } from '@backhaul/runtime';

/** Asks again until the answer will do or the grace is over; the last answer counts. */
export async function withGrace<Answer>(
  graceMs: number,
  signal: AbortSignal,
  ask: () => Promise<Answer>,
  willDo: (answer: Answer) => boolean,
): Promise<Answer> {
  const until = performance.now() + graceMs;
  for (;;) {
    const answer = await ask();
    const leftMs = until - performance.now();
    if (willDo(answer) || leftMs <= 0) return answer;
    await pause(Math.min(leftMs, 250), signal);
    signal.throwIfAborted();
  }
}

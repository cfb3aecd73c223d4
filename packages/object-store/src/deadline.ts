import { DeadlineExceeded } from '@backhaul/runtime';

/**
 * Runs `work` with a signal that aborts when `outer` does or when the time is
 * over. The deadline may be moved once the size of the answer is known.
 *
 * @throws the outer signal's reason when that aborted, else what `work` threw, or `DeadlineExceeded`
 */
export async function bounded<Result>(
  what: string,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  work: (signal: AbortSignal, extend: (timeoutMs: number) => void) => Promise<Result>,
): Promise<Result> {
  const { signal: outer } = options;
  outer?.throwIfAborted();
  const inner = new AbortController();
  const forward = () => inner.abort(outer?.reason);
  outer?.addEventListener('abort', forward, { once: true });
  const arm = (timeoutMs: number) => setTimeout(() => inner.abort(new DeadlineExceeded(what, timeoutMs)), timeoutMs);
  let timer = arm(options.timeoutMs);
  try {
    return await work(inner.signal, (timeoutMs) => {
      clearTimeout(timer);
      timer = arm(timeoutMs);
    });
  } catch (error) {
    // What was interrupted may report it as an error of its own, which says nothing about who gave up.
    if (inner.signal.aborted) throw inner.signal.reason;
    throw error;
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', forward);
  }
}

import { ChildDied, type ChildRun, runChild } from './child.ts';
import type { FromLauncher, ToLauncher } from './launcher-messages.ts';

/*
 * The launcher: starts children on the worker's behalf, for `launcher.ts`. It
 * loads next to nothing, because each start copies the page tables of the
 * process that starts. It lives exactly as long as the worker's end of its channel.
 */

const runs = new Map<number, AbortController>();

function tell(message: FromLauncher): void {
  // An error means that the worker is gone: the end of the channel says so as well, and ends us.
  process.send?.(message, undefined, undefined, () => undefined);
}

/** Resolves when the message has left; undefined when there is room for more. */
function tellWithinBounds(message: FromLauncher): Promise<void> | undefined {
  const { promise, resolve } = Promise.withResolvers<void>();
  const roomy = process.send?.(message, undefined, undefined, () => resolve()) ?? true;
  return roomy ? undefined : promise;
}

async function start({ id, sandbox, run }: Extract<ToLauncher, { kind: 'run' }>): Promise<void> {
  const aborter = new AbortController();
  runs.set(id, aborter);
  const whole: ChildRun = {
    ...run,
    signal: aborter.signal,
    onOutput: (chunk) => tellWithinBounds({ kind: 'output', id, chunk }),
    onProgress: (report) => tell({ kind: 'progress', id, report }),
  };
  try {
    const exit = await runChild(sandbox, whole);
    tell({ kind: 'exit', id, exit });
  } catch (error) {
    if (aborter.signal.aborted) tell({ kind: 'aborted', id });
    else if (error instanceof ChildDied) tell({ kind: 'died', id, message: error.message, why: error.why, signal: error.signal });
    else tell({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) });
  } finally {
    runs.delete(id);
  }
}

process.on('message', (message: ToLauncher) => {
  switch (message.kind) {
    case 'run':
      void start(message);
      break;
    case 'abort':
      runs.get(message.id)?.abort();
      break;
  }
});

// The worker ended, however it did: what we started must not outlive it, also where the kernel was not asked to see to that.
process.on('disconnect', () => {
  for (const aborter of runs.values()) aborter.abort();
  process.exit(0);
});

// Ctrl-C in a terminal reaches the whole group. The worker still needs us to finish its jobs; it tells us when to leave.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);

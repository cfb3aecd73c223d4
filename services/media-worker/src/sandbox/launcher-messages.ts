import type { ChildDeath, ChildExit, ChildRun, Sandbox } from './child.ts';

/** What of a run can cross to another process. */
export type SentRun = Omit<ChildRun, 'signal' | 'onOutput' | 'onProgress'>;

/** What the worker asks of the launcher. */
export type ToLauncher =
  | { readonly kind: 'run'; readonly id: number; readonly sandbox: Sandbox; readonly run: SentRun }
  /** Kill it: nobody waits for it any more. */
  | { readonly kind: 'abort'; readonly id: number };

/** What the launcher tells. Each run ends with one of the last four, after all of its output. */
export type FromLauncher =
  | { readonly kind: 'output'; readonly id: number; readonly chunk: Uint8Array }
  | { readonly kind: 'progress'; readonly id: number; readonly report: ReadonlyMap<string, string> }
  | { readonly kind: 'exit'; readonly id: number; readonly exit: ChildExit }
  | { readonly kind: 'died'; readonly id: number; readonly message: string; readonly why: ChildDeath; readonly signal: NodeJS.Signals | null }
  | { readonly kind: 'aborted'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };

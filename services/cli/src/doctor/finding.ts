/** What one look found. */
export interface Finding {
  /** `redis.eviction`: what was looked at. Stable, for scripts. */
  readonly name: string;
  /** `problem`: the fleet cannot work or loses something. `advice`: it works, but not as well as it could. */
  readonly state: 'ok' | 'advice' | 'problem';
  /** What was found. */
  readonly detail: string;
  /** What to do; with every problem and advice. */
  readonly mend?: string;
}

/** All is well. */
export const ok = (name: string, detail: string): Finding => ({ name, state: 'ok', detail });
/** It works, but. */
export const advice = (name: string, detail: string, mend: string): Finding => ({ name, state: 'advice', detail, mend });
/** It does not work. */
export const problem = (name: string, detail: string, mend: string): Finding => ({ name, state: 'problem', detail, mend });

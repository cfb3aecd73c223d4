/**
 * Failpoints: named gaps between two effects where a test kills the process,
 * because no outside observer can hit a gap of microseconds reliably.
 *
 * Armed only by `armFailpoint`, which a service calls with FAILPOINT from its
 * configuration outside production; otherwise a failpoint is one comparison.
 */
let armed: { name: string; skip: number } | undefined;

/** Arms one failpoint. `spec` is its name, optionally `name:3` to die at the fourth passage. */
export function armFailpoint(spec: string | undefined): void {
  if (spec === undefined) {
    armed = undefined;
    return;
  }
  const [name = '', skip = '0'] = spec.split(':');
  armed = { name, skip: Number(skip) };
}

/** Dies here, as by `kill -9`, if this failpoint is armed. */
export function failpoint(name: string): void {
  if (armed === undefined || armed.name !== name) return;
  if (armed.skip > 0) {
    armed.skip -= 1;
    return;
  }
  process.kill(process.pid, 'SIGKILL');
}

import { readFileSync, readdirSync } from 'node:fs';

/** Whose CPU time it is, by what stands on a process's command line; what none of them matches is not counted. */
const OWNERS: readonly (readonly [RegExp, string])[] = [
  [/services\/bridge\//, 'bridge'],
  [/no-op-worker|peer-worker/, 'worker'],
  [/^postgres|\/postgres /, 'postgres'],
  [/beam/, 'rabbitmq'],
  [/redis-server/, 'redis'],
];
const TICK_MS = 10;

/** CPU time so far of everything that takes part, in ms by owner. What else runs on the machine is not in it. */
export function cpuByProcess(): Map<string, number> {
  const sums = new Map<string, number>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    const owner = OWNERS.find(([pattern]) => pattern.test(command))?.[1];
    if (owner === undefined) continue;
    const stat = read(`/proc/${pid}/stat`);
    const [user = 0, system = 0] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    sums.set(owner, (sums.get(owner) ?? 0) + (user + system) * TICK_MS);
  }
  return sums;
}

/** Empty when the process has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder in the system's temporary folder for a server that cannot use the stack's own; the same for the same stack. */
export function elsewhere(dir: string, server: string): string {
  return join(tmpdir(), `backhaul-${server}-${createHash('sha256').update(dir).digest('hex').slice(0, 12)}`);
}

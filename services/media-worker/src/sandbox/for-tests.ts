import { PATH } from '../sample-media.ts';
import { findGuards } from './find-guards.ts';
import type { Guards } from './guards.ts';

/** What tests of the sandbox run behind: everything that works on this machine. */
export const guards: Guards = await findGuards(PATH);

/** Whether this machine can lock up a decoder. Where it cannot, tests that need that are left out, but not unseen. */
export const sandboxed = guards.bwrap && guards.filter !== undefined && guards.prlimit;
if (!sandboxed) {
  if (globalThis.process.env['CI'] === 'true') throw new Error('bubblewrap does not work here: make setup brings it; the machine must allow user namespaces');
  globalThis.process.stderr.write('bubblewrap does not work here: tests that need it are left out\n');
}

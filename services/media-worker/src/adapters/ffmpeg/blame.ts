import { TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit } from '../../sandbox/child.ts';
import { died } from './run.ts';

/** Words of `-max_streams`, said together with "Cannot allocate memory", which they have nothing to do with, and of `-max_pixels`. */
const TOO_LARGE = /exceeds max_streams|exceeds specified max pixel count|Picture size \d{4,}x\d{4,} is invalid/;

const EXHAUSTED = /Cannot allocate memory|Too many open files|File too large|Resource temporarily unavailable|error while loading shared libraries/i;

/** The programs that set up the sandbox, when they could not, or could not start ffmpeg in it. */
const NOT_STARTED = /^(?:bwrap|prlimit|setpriv|unshare): /m;

const NO_SUCH_STREAM = /matches no streams|does not contain any stream/i;

/** The last words are those of `-codec_whitelist`. */
const NO_DECODER =
  /Decoder .*not found|decoder \(codec .*\) not found|Unsupported codec|Unknown decoder|codec not currently supported|Function not implemented|not yet implemented|not on whitelist/i;

/** ffmpeg has one exit code for everything; its words tell the file's fault from the machine's. */
export function blame({ exitCode, stderr }: ChildExit, attempt: number): Error {
  const said = forPeople(stderr) || `exit code ${exitCode}`;
  if (saysTooLarge(stderr)) return mediaFailure('too_large', `the file has more streams or pixels than are accepted: ${said}`);
  if (NOT_STARTED.test(stderr)) return died(new ChildDied(`ffmpeg could not be started: ${said}`, 'not_started'), attempt);
  if (EXHAUSTED.test(stderr)) return died(new ChildDied(`ffmpeg ran out of something: ${said}`), attempt);
  if (/No space left on device/i.test(stderr)) return new TransientMediaFailure('disk_full', `ffmpeg found no room: ${said}`);
  if (NO_SUCH_STREAM.test(stderr)) return mediaFailure('type_mismatch', `the file does not hold what the event says: ${said}`);
  if (NO_DECODER.test(stderr)) return mediaFailure('unsupported', `the file's codec is not supported: ${said}`);
  return mediaFailure('corrupt', `the file cannot be decoded: ${said}`);
}

/** Whether ffmpeg or ffprobe met one of the limits that it was given, which need not make it fail. */
export function saysTooLarge(stderr: string): boolean {
  return TOO_LARGE.test(stderr);
}

/** The first of what was said, without addresses in memory, our folders and the list of what is allowed. */
function forPeople(stderr: string): string {
  const lines = stderr
    .split('\n')
    .filter((line) => !line.includes('Last message repeated'))
    .slice(0, 3)
    .join('; ');
  return lines
    .replaceAll(/ @ 0x[0-9a-f]+/g, '')
    .replaceAll(/(?:file:)?\/\S*\/(?=[^/\s])/g, '')
    .replaceAll(/ not on whitelist '[^']*'/g, ' not on whitelist')
    .slice(0, 500);
}

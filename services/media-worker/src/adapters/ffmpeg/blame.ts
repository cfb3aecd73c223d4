import { TransientMediaFailure, mediaFailure } from '@backhaul/jobs/media';
import { ChildDied, type ChildExit } from '../../sandbox/child.ts';
import { died } from './run.ts';

/** ffmpeg has one exit code for everything; its words tell the file's fault from the machine's. */
export function blame({ exitCode, stderr }: ChildExit, attempt: number): Error {
  const said = stderr.split('\n').slice(0, 3).join('; ').slice(0, 500) || `exit code ${exitCode}`;
  if (/Cannot allocate memory|Too many open files|Resource temporarily unavailable|error while loading shared libraries/i.test(stderr)) {
    return died(new ChildDied(`ffmpeg ran out of something: ${said}`), attempt);
  }
  if (/No space left on device/i.test(stderr)) return new TransientMediaFailure('disk_full', `ffmpeg found no room: ${said}`);
  if (/matches no streams|does not contain any stream/i.test(stderr))
    return mediaFailure('type_mismatch', `the file does not hold what the event says: ${said}`);
  if (
    /Decoder .*not found|decoder \(codec .*\) not found|Unsupported codec|Unknown decoder|codec not currently supported|Function not implemented|not yet implemented/i.test(
      stderr,
    )
  ) {
    return mediaFailure('unsupported', `the file's codec is not supported: ${said}`);
  }
  return mediaFailure('corrupt', `the file cannot be decoded: ${said}`);
}

import { PermanentFailure } from '@backhaul/queue/job';

/** Who can mend a failure: nobody (`permanent`: never retried), or time and operators (`transient`: retried, and worth a replay later). */
export type FailureClass = 'permanent' | 'transient';

/** Every reason why media ends without outputs. The codes are stable: apps show their own words for them. */
export const MEDIA_FAILURES = {
  /** No bytes, or no sound or picture among them. */
  empty: 'permanent',
  /** Damaged, or nothing that follows its format's rules. */
  corrupt: 'permanent',
  /** A format or codec that is not accepted. */
  unsupported: 'permanent',
  /** HEIC, on a worker that has no decoder for it. */
  unsupported_heic: 'permanent',
  /** More bytes, pixels, streams or pictures a second than are accepted. */
  too_large: 'permanent',
  too_long: 'permanent',
  /** The content is not what the event says. */
  type_mismatch: 'permanent',
  source_missing: 'permanent',
  /** The upload was replaced while it was worked on. */
  source_changed: 'permanent',
  /** The decoder crashed or ran into its limits, twice. */
  crashed: 'permanent',
  /** It took too long, twice. */
  timeout: 'permanent',
  /** The store refuses us: an operator must mend the credentials, then replay. */
  access_refused: 'permanent',
  /** The decoder crashed or was killed, for the first time. */
  decoder_died: 'transient',
  /** The worker has no room for the file at the moment. */
  disk_full: 'transient',
  /** Store, database or machine failed in every try. */
  unavailable: 'transient',
} as const satisfies Record<string, FailureClass>;

/** A key of `MEDIA_FAILURES`. */
export type MediaFailureCode = keyof typeof MEDIA_FAILURES;

/** The codes of one class. */
export type FailureCodeOf<Class extends FailureClass> = {
  [Code in MediaFailureCode]: (typeof MEDIA_FAILURES)[Code] extends Class ? Code : never;
}[MediaFailureCode];

/** What may be less than perfect about outputs that are there all the same. Stable as well. */
export const MEDIA_WARNINGS = [
  /** Pictures at the end of an animation were left out. */
  'animation_truncated',
  /** Only the first picture of an animation was kept. */
  'animation_still',
  /** An animated GIF was to become an MP4 as well, and could not. */
  'animation_not_video',
  /** The sound could not be read and was left out. */
  'audio_dropped',
  /** The file ends before it says that it does. */
  'truncated',
  /** HDR colours could not be brought to ordinary ones and look washed out. */
  'hdr_not_tonemapped',
  /** The poster is another picture than the one that was aimed at. */
  'poster_fallback',
  /** There is sound, but no waveform of it. */
  'waveform_missing',
] as const;

/** A degraded result. `reason` is for people. */
export interface MediaWarning {
  readonly code: (typeof MEDIA_WARNINGS)[number];
  readonly reason: string;
}

/** Ends the job: no later try can go better. */
export function mediaFailure(code: FailureCodeOf<'permanent'>, message: string, options?: { readonly cause?: unknown }): PermanentFailure {
  return new PermanentFailure(code, message, options);
}

/** This try is lost, another may go better. */
export class TransientMediaFailure extends Error {
  readonly code: FailureCodeOf<'transient'>;

  constructor(code: FailureCodeOf<'transient'>, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'TransientMediaFailure';
    this.code = code;
  }
}

/** The class of a code, also of one that another version of the fleet wrote. */
export function classOf(code: string): FailureClass {
  return Object.hasOwn(MEDIA_FAILURES, code) ? MEDIA_FAILURES[code as MediaFailureCode] : 'permanent';
}

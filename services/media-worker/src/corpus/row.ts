import type { MediaKind } from '@backhaul/jobs/media';
import type { CorpusTools } from './generate.ts';

/** A file that somebody may send, and what has to come of it. */
export interface CorpusRow {
  /** Unique; says what is special about the file. */
  readonly name: string;
  /** What the event says that it is. */
  readonly kind: MediaKind;
  make(tools: CorpusTools): Promise<Buffer>;
  readonly expect: Expectation;
}

/**
 * 'typed' is for files of which only this much is promised: they end, within
 * the limits, as done or as a failure of the closed list. Used where two
 * decoders may rightly differ.
 */
export type Expectation = { readonly done: DoneExpectation } | { readonly failed: string | readonly string[] } | 'typed';

/** What is not given is not looked at, but for warnings: there must be none that is not named. */
export interface DoneExpectation {
  /** Of the original as people see it, upright; of a video as it is stored. */
  readonly width?: number;
  readonly height?: number;
  /** Within 60 ms, the length of a few coded blocks, or `toleranceMs`. */
  readonly durationMs?: number;
  readonly toleranceMs?: number;
  /** Which ways to make a video would be right. */
  readonly road?: 'remux' | 'audio_only' | 'transcode';
  readonly hasAudio?: boolean;
  readonly animated?: boolean;
  /** Codes that must be there. */
  readonly warnings?: readonly string[];
  /** Codes that may be there as well. */
  readonly mayWarn?: readonly string[];
  /** Colours of the upper left and upper right corner, as names of CSS: tells whether a picture is upright. */
  readonly corners?: readonly [string, string];
  /** What the waveform looks like. */
  readonly peaks?: 'silent' | 'full' | 'some';
}

/** Not accepted. Which of the two codes says so depends on whether the sniffer knows the format's name. */
export const REFUSED = { failed: ['unsupported', 'type_mismatch'] } as const;

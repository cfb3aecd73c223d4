import { isUtf8 } from 'node:buffer';
import type { DeadLetter } from '@backhaul/database';

/** The body of a dead message, as people can read it. */
export interface ReadableBody {
  /** How the bytes are written in `content`: as they are, or in Base64 when they are no UTF-8. */
  readonly encoding: 'utf8' | 'base64';
  readonly content: string;
  /** How large the body was when it came. */
  readonly sizeBytes: number;
  /** Whether all of it was kept. */
  readonly complete: boolean;
}

/** What was kept of a dead letter's body; null for a worker's, which has a payload instead. */
export function bodyOf(letter: Pick<DeadLetter, 'bodyHead' | 'bodyBytes'>): ReadableBody | null {
  if (letter.bodyHead === null) return null;
  const sizeBytes = letter.bodyBytes ?? letter.bodyHead.length;
  const encoding = isUtf8(letter.bodyHead) ? 'utf8' : 'base64';
  return { encoding, content: letter.bodyHead.toString(encoding), sizeBytes, complete: sizeBytes <= letter.bodyHead.length };
}

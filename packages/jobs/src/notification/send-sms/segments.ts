/** What a text costs on the air. */
export interface Segments {
  /** gsm-7 holds 160 characters in one segment, ucs-2 70; one character outside GSM 7-bit makes the whole text ucs-2. */
  readonly encoding: 'gsm-7' | 'ucs-2';
  /** What the provider charges for. */
  readonly segments: number;
}

/** GSM 03.38, basic table: one septet each. */
const basic = new Set('@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà');
/** Its extension table: an escape and a septet. */
const extension = new Set('\f^{}\\[~]|€');

/** Counts the segments of a text as networks split it. */
export function countSegments(text: string): Segments {
  const characters = [...text];
  const gsm = characters.every((character) => basic.has(character) || extension.has(character));
  const sizes = characters.map((character) => (gsm ? (basic.has(character) ? 1 : 2) : character.length));
  const [single, part] = gsm ? [160, 153] : [70, 67];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const encoding = gsm ? 'gsm-7' : 'ucs-2';
  if (total <= single) return { encoding, segments: total === 0 ? 0 : 1 };
  let segments = 1;
  let used = 0;
  for (const size of sizes) {
    // Neither an escape nor a surrogate pair is torn: a pair that does not fit begins the next segment.
    if (used + size > part) {
      segments += 1;
      used = 0;
    }
    used += size;
  }
  return { encoding, segments };
}

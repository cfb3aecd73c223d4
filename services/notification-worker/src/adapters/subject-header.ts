/** RFC 2047, 2: an encoded word has at most 75 characters; 45 octets become 60 of them, beside `=?utf-8?B?` and `?=`. */
const MAX_WORD_OCTETS = 45;

/**
 * A subject as a header's value that reads as the same text again; undefined
 * where it does so as it is, or as nodemailer encodes it.
 *
 * nodemailer leaves ASCII alone, also what looks encoded already: of a title
 * such as `=?utf-8?Q?Bcc=3A_eve?=` readers would see `Bcc: eve`.
 */
export function encodedSubject(subject: string): string | undefined {
  if (!subject.includes('=?')) return undefined;
  const words: string[] = [];
  let word = '';
  for (const character of subject.replaceAll(/\p{Cc}+/gu, ' ')) {
    if (Buffer.byteLength(word + character) > MAX_WORD_OCTETS) {
      words.push(word);
      word = '';
    }
    word += character;
  }
  words.push(word);
  return words.map((each) => `=?utf-8?B?${Buffer.from(each).toString('base64')}?=`).join('\r\n ');
}

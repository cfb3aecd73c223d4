import { boxesIn } from './mp4-boxes.ts';
import { FILLING, contentsOf, handlerOf, isTiled, need } from './mp4-contents.ts';
import { must } from './plain.ts';

/** Of phones and of 3GP: ffmpeg skips them or keeps them as text. */
const USER_DATA = ['name', 'titl', 'auth', 'cprt', 'date', 'SDLN', 'smrd', 'smta'];
const ITEMS = ['desc', 'cprt', 'aART'];

/** Words about a video that ffmpeg keeps as text. A cover among them would become a stream. */
export function checkUserData(udta: Buffer): void {
  // QuickTime ends the list with a zero.
  const words = isTiled(udta) || udta.readUInt32BE(udta.length - 4) !== 0 ? udta : udta.subarray(0, -4);
  const meta = contentsOf(words, ['meta'], [...wordsIn(words), ...USER_DATA, ...FILLING]).get('meta');
  if (meta !== undefined) checkMetadata(meta);
}

/** `meta`, of QuickTime or of ISO/IEC 14496-12, 8.11.1, which has a version in front. */
export function checkMetadata(meta: Buffer): void {
  const boxes = contentsOf(meta.toString('latin1', 4, 8) === 'hdlr' ? meta : meta.subarray(4), ['hdlr', 'keys', 'ilst'], FILLING);
  must([...boxes.keys()][0] === 'hdlr' && !['vide', 'soun'].includes(handlerOf(need(boxes, 'hdlr'))));
  const keys = boxes.get('keys');
  must(keys === undefined || !keys.includes('artwork'));
  const items = boxes.get('ilst');
  if (items !== undefined) contentsOf(items, [], [...wordsIn(items), ...ITEMS]);
}

/** Types that ffmpeg takes for text: those of QuickTime's begin with a copyright sign, those of `keys` are numbers. */
function wordsIn(parent: Buffer): string[] {
  return boxesIn(parent)
    .map(({ type }) => type)
    .filter((type) => type.startsWith('\u{a9}') || type.startsWith('\0\0'));
}

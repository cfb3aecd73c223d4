import { bitReader } from './bit-reader.ts';
import { must, unlessNotPlain } from './plain.ts';

/** What the header of plain AAC-LC says. */
export interface AacParameters {
  readonly channels: 1 | 2;
  readonly sampleRate: number;
}

/** ISO/IEC 14496-3, table 1.18. */
const SAMPLE_RATES = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/** `audioObjectType`: table 1.17. */
const LOW_COMPLEXITY = 2;
const BAND_REPLICATION = 5;

/** Where the fields that are read first end: 5 bits, 4 and 4. */
const CHANNELS_END = 13;

/** In front of what was added to the header later: 1.6.2.1. */
const SYNC_EXTENSION = 0x2b7;

/** Below it band replication may go unannounced (1.6.5.3), which doubles the rate; only the sound itself tells. */
const LEAST_UNANNOUNCED = 32_000;

/**
 * Reads `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1). undefined when
 * anything is not plain: other kinds of AAC, more than two channels, band
 * replication, announced or possible.
 */
export function readAacConfig(config: Buffer): AacParameters | undefined {
  return unlessNotPlain(() => {
    const bits = bitReader(config);
    must(bits.bits(5) === LOW_COMPLEXITY);
    const sampleRate = SAMPLE_RATES[bits.bits(4)];
    const channels = bits.bits(4);
    must(sampleRate !== undefined && (channels === 1 || channels === 2));
    // GASpecificConfig, 4.4.1: blocks of 1024 samples that need no other layer.
    must(bits.bits(3) === 0);
    let announced = false;
    // ffmpeg looks for it at every bit behind the channels.
    for (let at = CHANNELS_END; !announced && config.length * 8 - at > 15; at++) {
      const rest = bitReader(config);
      rest.skip(at);
      if (rest.bits(11) !== SYNC_EXTENSION) continue;
      must(rest.bits(5) === BAND_REPLICATION && !rest.flag());
      announced = true;
    }
    must(announced || sampleRate >= LEAST_UNANNOUNCED);
    return { channels, sampleRate };
  });
}

/** `id_syn_ele`: table 4.85. */
const ELEMENT = { single: 0, pair: 1, fill: 6 } as const;

/** Band replication hides in filling: `extension_type` of table 4.121. */
const BAND_REPLICATION_DATA: readonly number[] = [13, 14];

/**
 * Whether a sound begins with a block of as many channels as its header says:
 * ffmpeg believes the block. `head` is the beginning of its first sample.
 */
export function beginsWithChannels(head: Buffer, channels: AacParameters['channels']): boolean {
  const plain = unlessNotPlain(() => {
    const bits = bitReader(head);
    for (;;) {
      const element = bits.bits(3);
      if (element !== ELEMENT.fill) return element === (channels === 1 ? ELEMENT.single : ELEMENT.pair);
      let bytes = bits.bits(4);
      if (bytes === 15) bytes += bits.bits(8) - 1;
      if (bytes === 0) continue;
      must(!BAND_REPLICATION_DATA.includes(bits.bits(4)));
      bits.skip(bytes * 8 - 4);
    }
  });
  return plain ?? false;
}

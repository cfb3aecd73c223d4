import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';

/** A second of sound is 16 KB: read in pieces of half a minute. */
const READ_BYTES = 512 * 1024;

/**
 * ffmpeg's arguments for the samples of a sound, signed 16-bit little-endian, in a file of their own.
 *
 * Not through a pipe: its reader is woken for each piece, before and instead of
 * the niced decoder, and that cost a twentieth of a minute's whole conversion.
 */
export function samplesOutput(file: string, pcmRate: number): string[] {
  return ['-ac', '1', '-ar', String(pcmRate), '-c:a', 'pcm_s16le', '-f', 's16le', `file:${file}`];
}

/** Hands over what was written, and removes it. Returns how many bytes there were; 0 as well when there is no file. */
export async function takeSamples(file: string, onPcm: (chunk: Buffer) => void): Promise<number> {
  let sizeBytes = 0;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      onPcm(chunk);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await rm(file, { force: true });
  return sizeBytes;
}

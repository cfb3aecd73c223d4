import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { Transform } from 'node:stream';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32 } from 'node:zlib';

/** The upload does not match what its headers or trailers say. The code is S3's. */
export class BadUpload extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What an upload turned out to be. */
export type Received = { sizeBytes: number; md5: string; checksums: Record<string, string> };

/**
 * Write the body of an upload to a file while checking it, without holding it in memory.
 *
 * Understands `aws-chunked` (the SDK's default for streams: chunks with an own length line, then
 * trailers with the checksum), signed or unsigned; chunk signatures are not checked. Verifies
 * Content-MD5 and the checksums crc32, crc32c, sha1 and sha256, from headers and trailers.
 *
 * @throws BadUpload; the file is gone then
 */
export async function receiveBody(body: Readable, headers: IncomingHttpHeaders, file: string): Promise<Received> {
  const decoder = isAwsChunked(headers) ? new AwsChunkedDecoder() : undefined;
  const digests = new Map<string, Digest>([['md5', cryptoDigest('md5')]]);
  const announced = `${Object.keys(headers).join(' ')} ${String(headers['x-amz-trailer'] ?? '')}`;
  for (const [name, make] of Object.entries(CHECKSUMS)) {
    if (announced.includes(`x-amz-checksum-${name}`)) digests.set(name, make());
  }
  let sizeBytes = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      sizeBytes += chunk.length;
      for (const digest of digests.values()) digest.update(chunk);
      done(null, chunk);
    },
  });
  try {
    const target = createWriteStream(file);
    await (decoder ? pipeline(body, decoder, meter, target) : pipeline(body, meter, target));
    const said = { ...headers, ...decoder?.trailers };
    const decodedLength = headers['x-amz-decoded-content-length'];
    if (decoder && decodedLength !== undefined && Number(decodedLength) !== sizeBytes) {
      throw new BadUpload('IncompleteBody', `announced ${String(decodedLength)} bytes, received ${sizeBytes}`);
    }
    const checksums: Record<string, string> = {};
    let md5 = '';
    for (const [name, digest] of digests) {
      const value = digest.digest();
      if (name === 'md5') md5 = value.toString('hex');
      const header = name === 'md5' ? 'content-md5' : `x-amz-checksum-${name}`;
      const expected = said[header];
      const actual = value.toString('base64');
      if (expected !== undefined && expected !== actual) throw new BadUpload('BadDigest', `${header} is ${actual}, not ${String(expected)}`);
      if (expected !== undefined && name !== 'md5') checksums[header] = actual;
    }
    return { sizeBytes, md5, checksums };
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  }
}

const isAwsChunked = (headers: IncomingHttpHeaders): boolean =>
  String(headers['content-encoding'] ?? '').includes('aws-chunked') || String(headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-');

/** Takes the framing off: `<hex length>[;extension]\r\n<bytes>\r\n`, up to a chunk of length 0, then trailers. */
class AwsChunkedDecoder extends Transform {
  readonly trailers: Record<string, string> = {};
  #state: 'length' | 'data' | 'data-end' | 'trailers' | 'done' = 'length';
  #left = 0;
  #line = '';

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'data') {
        const piece = chunk.subarray(at, at + this.#left);
        this.push(piece);
        at += piece.length;
        this.#left -= piece.length;
        if (this.#left === 0) this.#state = 'data-end';
        continue;
      }
      const end = chunk.indexOf(0x0a, at);
      this.#line += chunk.toString('latin1', at, end === -1 ? chunk.length : end);
      at = end === -1 ? chunk.length : end + 1;
      if (this.#line.length > 8192) return done(new BadUpload('InvalidChunkSizeError', 'a chunk header is longer than 8 KiB'));
      if (end === -1) break;
      const line = this.#line.trimEnd();
      this.#line = '';
      const problem = this.#take(line);
      if (problem) return done(problem);
    }
    done();
  }

  override _flush(done: (error?: Error) => void): void {
    done(this.#state === 'trailers' || this.#state === 'done' ? undefined : new BadUpload('IncompleteBody', 'the last chunk is missing'));
  }

  #take(line: string): Error | undefined {
    if (this.#state === 'length') {
      const size = /^[0-9a-f]{1,8}(?=;|$)/i.exec(line)?.[0];
      if (size === undefined) return new BadUpload('InvalidChunkSizeError', `not a chunk header: ${line.slice(0, 80)}`);
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailers' : 'data';
    } else if (this.#state === 'data-end') {
      if (line !== '') return new BadUpload('InvalidChunkSizeError', 'a chunk is longer than its header says');
      this.#state = 'length';
    } else if (line === '') {
      this.#state = 'done';
    } else {
      const colon = line.indexOf(':');
      this.trailers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    return undefined;
  }
}

type Digest = { update: (chunk: Buffer) => void; digest: () => Buffer };

const CHECKSUMS: Record<string, () => Digest> = {
  crc32: () => crcDigest((chunk, crc) => crc32(chunk, crc)),
  crc32c: () => crcDigest(crc32c),
  sha1: () => cryptoDigest('sha1'),
  sha256: () => cryptoDigest('sha256'),
};

function cryptoDigest(algorithm: string): Digest {
  const hash: Hash = createHash(algorithm);
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest() };
}

function crcDigest(step: (chunk: Buffer, crc: number) => number): Digest {
  let crc = 0;
  return {
    update: (chunk) => void (crc = step(chunk, crc)),
    digest() {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(crc >>> 0);
      return bytes;
    },
  };
}

/** Castagnoli's polynomial, reflected. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

function crc32c(chunk: Buffer, start: number): number {
  let crc = ~start;
  for (const byte of chunk) crc = (crc >>> 8) ^ (CRC32C_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc;
}

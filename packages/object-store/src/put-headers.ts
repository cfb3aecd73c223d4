import { crc32 } from 'node:zlib';

/** What a PUT says of its object. */
interface PutHeaders {
  readonly contentType: string;
  readonly cacheControl?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Only if the key is free. */
  readonly conditional: boolean;
  /** The bytes whose checksum S3 shall compare and keep; undefined for none. */
  readonly checksumOf: Buffer | undefined;
}

/** The headers of a PUT, without those of its transfer. */
export function putHeaders({ contentType, cacheControl, metadata = {}, conditional, checksumOf }: PutHeaders): Record<string, string> {
  return {
    'content-type': contentType,
    ...(cacheControl === undefined ? {} : { 'cache-control': cacheControl }),
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
    ...(conditional ? { 'if-none-match': '*' } : {}),
    ...(checksumOf === undefined ? {} : { 'x-amz-checksum-crc32': crc32Text(checksumOf) }),
  };
}

/** As S3 writes it: four bytes, the highest first, in base64. */
function crc32Text(bytes: Buffer): string {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32(bytes));
  return value.toString('base64');
}

import { expect, test } from 'vitest';
import { putHeaders } from './put-headers.ts';

test('a put says what its object is, and its checksum as S3 writes it', () => {
  expect(
    putHeaders({
      contentType: 'image/jpeg',
      cacheControl: 'no-store',
      metadata: { owner: 'u-1' },
      conditional: true,
      // The check value of CRC-32, cbf43926.
      checksumOf: Buffer.from('123456789'),
    }),
  ).toEqual({ 'content-type': 'image/jpeg', 'cache-control': 'no-store', 'x-amz-meta-owner': 'u-1', 'if-none-match': '*', 'x-amz-checksum-crc32': 'y/Q5Jg==' });
  expect(putHeaders({ contentType: 'image/jpeg', conditional: false, checksumOf: undefined })).toEqual({ 'content-type': 'image/jpeg' });
});

import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stack, startStack } from '../stack.ts';

let stack: Stack;
let s3: S3Client;
let Bucket: string;

beforeAll(async () => {
  stack = await startStack({ dir: join(tmpdir(), `backhaul-s3-${process.pid}`), only: ['fakes'] });
  const { AWS_ENDPOINT_URL_S3: endpoint = '', AWS_S3_BUCKET = '' } = stack.env;
  Bucket = AWS_S3_BUCKET;
  // Everything else as the SDK has it by default; only retries would hide the scripted errors.
  s3 = new S3Client({ endpoint, region: 'us-east-1', maxAttempts: 1, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } });
});

afterAll(async () => {
  s3.destroy();
  await stack.stop({ removeData: true });
});

const put = (Key: string, Body: string | Buffer): Promise<unknown> => s3.send(new PutObjectCommand({ Bucket, Key, Body }));

async function get(Key: string, more: { Range?: string; IfMatch?: string } = {}): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

test('an object comes back as it was put, with its headers, as a file that can be opened', async () => {
  const Body = randomBytes(100_000);
  const Metadata = { owner: 'u-1' };
  const answer = await s3.send(new PutObjectCommand({ Bucket, Key: 'media/a b/ü.jpg', Body, ContentType: 'image/jpeg', CacheControl: 'max-age=60', Metadata }));
  expect(answer.ETag).toBe(`"${createHash('md5').update(Body).digest('hex')}"`);
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'media/a b/ü.jpg' }));
  expect(got).toMatchObject({ ContentType: 'image/jpeg', CacheControl: 'max-age=60', Metadata, ContentLength: 100_000, ETag: answer.ETag });
  expect(Buffer.from((await got.Body?.transformToByteArray()) ?? [])).toEqual(Body);
  expect(readFileSync(join(stack.dir, 's3', Bucket, 'media/a b/ü.jpg'))).toEqual(Body);
  const [effect] = await stack.fakes.effects({ service: 's3', key: `${Bucket}/media/a b/ü.jpg` });
  expect(effect).toMatchObject({ kind: 'put', sizeBytes: 100_000, contentType: 'image/jpeg' });
});

test('a stream is stored without the framing of its transfer', async () => {
  const bytes = randomBytes(1_048_577);
  const Body = Readable.from([bytes.subarray(0, 10), bytes.subarray(10, 700_000), bytes.subarray(700_000)]);
  const { ChecksumCRC32 } = await s3.send(new PutObjectCommand({ Bucket, Key: 'streamed', Body, ContentLength: bytes.length }));
  expect(ChecksumCRC32).toMatch(/^[\w+/]{6}==$/);
  expect(await get('streamed')).toEqual(bytes);
});

test('a transfer that does not fit its checksum or its length stores nothing', async () => {
  const url = `${stack.env['AWS_ENDPOINT_URL_S3']}/${Bucket}/corrupt`;
  const answer = await fetch(url, { method: 'PUT', body: 'abc', headers: { 'x-amz-checksum-crc32': 'AAAAAA==' } });
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('<Code>BadDigest</Code>')]);
  const chunked = { 'content-encoding': 'aws-chunked', 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' };
  const cut = await fetch(url, { method: 'PUT', body: '5\r\nhello\r\n', headers: chunked });
  expect([cut.status, await cut.text()]).toEqual([400, expect.stringContaining('<Code>IncompleteBody</Code>')]);
  expect(existsSync(join(stack.dir, 's3', Bucket, 'corrupt'))).toBe(false);
});

test('parts of an object are read by range, pinned to its version', async () => {
  await put('digits', '0123456789');
  expect((await get('digits', { Range: 'bytes=2-4' })).toString()).toBe('234');
  expect((await get('digits', { Range: 'bytes=7-' })).toString()).toBe('789');
  expect((await get('digits', { Range: 'bytes=-2' })).toString()).toBe('89');
  await expect(get('digits', { Range: 'bytes=10-' })).rejects.toMatchObject({ name: 'InvalidRange' });
  await expect(get('digits', { IfMatch: '"another"' })).rejects.toMatchObject({ name: 'PreconditionFailed' });
  const { ETag = '' } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'digits' }));
  expect((await get('digits', { IfMatch: ETag })).length).toBe(10);
});

test('of several writers who want to be the first, one wins', async () => {
  const write = (Body: string): Promise<unknown> => s3.send(new PutObjectCommand({ Bucket, Key: 'first', Body, IfNoneMatch: '*' }));
  const results = await Promise.allSettled(['a', 'b', 'c', 'd'].map(write));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  await expect(write('e')).rejects.toMatchObject({ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } });
});

test('a multipart upload becomes one object', async () => {
  const Key = 'large';
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ContentType: 'video/mp4' }));
  const bodies = [randomBytes(5 * 1024 * 1024), randomBytes(1000)];
  const Parts = await Promise.all(
    bodies.map(async (Body, index) => {
      const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: index + 1, Body }));
      return { ETag, PartNumber: index + 1 };
    }),
  );
  const { ETag } = await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
  expect(ETag).toMatch(/^"[0-9a-f]{32}-2"$/);
  expect(await get(Key)).toEqual(Buffer.concat(bodies));
});

test('objects are listed by pages, prefixes and folders, copied, and deleted', async () => {
  const keys = ['list/a', 'list/b/1', 'list/b/2', 'list/c', 'list/d/1'];
  for (const key of keys) await put(key, key);
  const seen: (string | undefined)[] = [];
  let ContinuationToken: string | undefined;
  do {
    const page = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'list/', MaxKeys: 2, ...(ContinuationToken ? { ContinuationToken } : {}) }));
    seen.push(...(page.Contents ?? []).map(({ Key }) => Key));
    ContinuationToken = page.NextContinuationToken;
  } while (ContinuationToken);
  expect(seen).toEqual(keys);
  const folders = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'list/', Delimiter: '/' }));
  expect([folders.Contents?.map(({ Key }) => Key), folders.CommonPrefixes?.map(({ Prefix }) => Prefix)]).toEqual([
    ['list/a', 'list/c'],
    ['list/b/', 'list/d/'],
  ]);
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copied', CopySource: `${Bucket}/list/b/1` }));
  expect((await get('copied')).toString()).toBe('list/b/1');
  const { Deleted } = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
  expect(Deleted).toHaveLength(5);
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'never there' }));
  await expect(get('list/a')).rejects.toMatchObject({ name: 'NoSuchKey' });
  await expect(s3.send(new HeadBucketCommand({ Bucket: 'another' }))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } });
});

test('hostile keys are kept, inside the folder', async () => {
  const hostile = ['../../escaped', '/absolute', 'a/../../b', './c', 'a//b', 'dir/', 'nul\u0001', `${'x'.repeat(300)}`, 'conflict', 'conflict/below'];
  const url = (key: string): string => `${stack.env['AWS_ENDPOINT_URL_S3']}/${Bucket}/${encodeURIComponent(key)}`;
  for (const key of hostile) expect((await fetch(url(key), { method: 'PUT', body: key })).status).toBe(200);
  for (const key of hostile) expect(await (await fetch(url(key))).text()).toBe(key);
  expect(existsSync(join(stack.dir, 'escaped'))).toBe(false);
  expect(existsSync(join(stack.dir, 's3', 'escaped'))).toBe(false);
});

test('objects and records survive a restart', async () => {
  await put('kept', 'kept');
  await stack.fakesServer.kill();
  await stack.fakesServer.start();
  expect((await get('kept')).toString()).toBe('kept');
  expect(await stack.fakes.effects({ key: `${Bucket}/kept` })).toHaveLength(1);
});

test('scripted errors look like the real ones and happen as often as told', async () => {
  const { remove } = await stack.fakes.script('s3', [{ match: { operation: 'PutObject', key: 'slow/*' }, times: 2, action: { code: 'SlowDown' } }]);
  await expect(put('slow/1', 'x')).rejects.toMatchObject({ name: 'SlowDown', $metadata: { httpStatusCode: 503 } });
  await put('another', 'x');
  await expect(put('slow/1', 'x')).rejects.toMatchObject({ name: 'SlowDown' });
  await put('slow/1', 'x');
  await remove();
  expect(await stack.fakes.effects({ kind: 'refused', key: `${Bucket}/slow/1` })).toHaveLength(2);
});

test('a lost answer has been applied; a reset upload has not', async () => {
  await stack.fakes.script('s3', [
    { match: { key: 'lost' }, times: 1, action: { loseReply: true } },
    { match: { key: 'cut' }, times: 1, action: { resetAfterBytes: 1000 } },
  ]);
  await expect(put('lost', 'x')).rejects.toThrow(/ECONNRESET|socket hang up/);
  expect((await get('lost')).toString()).toBe('x');
  await expect(put('cut', randomBytes(1_000_000))).rejects.toThrow(/ECONNRESET|EPIPE|socket hang up/);
  await expect(get('cut')).rejects.toMatchObject({ name: 'NoSuchKey' });
});

test('a download is cut in the middle, slowed down, or never begins', async () => {
  await put('body', randomBytes(200_000));
  await stack.fakes.script('s3', [{ match: { key: 'body', operation: 'GetObject' }, times: 1, action: { resetAfterBytes: 50_000 } }]);
  await expect(get('body')).rejects.toThrow(/aborted|ECONNRESET/);
  await stack.fakes.script('s3', [{ match: { key: 'body' }, times: 1, action: { bytesPerSecond: 1_000_000 } }]);
  const start = performance.now();
  expect((await get('body')).length).toBe(200_000);
  expect(performance.now() - start).toBeGreaterThan(150);
  await stack.fakes.script('s3', [{ match: { key: 'body' }, action: { hang: true } }]);
  await expect(s3.send(new GetObjectCommand({ Bucket, Key: 'body' }), { abortSignal: AbortSignal.timeout(200) })).rejects.toThrow(/abort/i);
  await stack.fakes.reset();
  expect((await get('body')).length).toBe(200_000);
});

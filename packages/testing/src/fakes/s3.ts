import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { EffectLog } from './effect-log.ts';
import { httpFake } from './http-fake.ts';
import type { FakeRequest, Reply, RequestHead } from './http-fake.ts';
import type { Action, Facts } from './rules.ts';
import { BadUpload, receiveBody } from './s3-body.ts';
import type { Received } from './s3-body.ts';
import { listObjects } from './s3-list.ts';
import { isBucketName, PreconditionFailed, S3Store } from './s3-store.ts';
import type { ObjectRecord } from './s3-store.ts';
import { xmlDocument, xmlError, xmlTexts } from './s3-xml.ts';

/**
 * S3 over path-style HTTP, as far as the AWS SDK with its default settings uses it. Signatures are not
 * checked, except that a presigned URL expires.
 *
 * Effects: put, copy and complete `{sizeBytes, etag, contentType}`, delete `{existed}`; key `bucket/key`.
 */
export function s3Fake({ dir, log }: { dir: string; log: EffectLog }): ReturnType<typeof httpFake> {
  const store = new S3Store(dir);
  const uploads = new Map<string, Upload>();
  let uploadCount = 0;

  async function handle(request: FakeRequest): Promise<Reply> {
    const { facts } = request;
    const { operation = '', bucket = '', key = '' } = facts;
    try {
      checkExpiry(request.url);
      if (operation === 'ListBuckets') return xml(xmlDocument('ListAllMyBucketsResult', { Buckets: { Bucket: store.buckets().map((Name) => ({ Name })) } }));
      if (operation === 'CreateBucket') return createBucket(bucket);
      if (!store.hasBucket(bucket)) throw new S3Error('NoSuchBucket', 'The specified bucket does not exist');
      return await (OPERATIONS[operation] ?? unknownOperation)(request, bucket, key);
    } catch (error) {
      request.body.resume();
      if (error instanceof PreconditionFailed) return errorReply('PreconditionFailed', 'At least one of the preconditions you specified did not hold.');
      if (error instanceof S3Error || error instanceof BadUpload) return errorReply(error.code, error.message);
      throw error;
    }
  }

  function createBucket(bucket: string): Reply {
    if (!isBucketName(bucket)) throw new S3Error('InvalidBucketName', `"${bucket}" is not a bucket name`);
    if (!store.createBucket(bucket)) throw new S3Error('BucketAlreadyOwnedByYou', 'The bucket is there already');
    return { status: 200, headers: { location: `/${bucket}` } };
  }

  function existing(bucket: string, key: string): ObjectRecord {
    const record = store.get(bucket, key);
    if (!record) throw new S3Error('NoSuchKey', 'The specified key does not exist.');
    return record;
  }

  /** GetObject and HeadObject. */
  function read({ method, headers }: FakeRequest, bucket: string, key: string): Reply {
    const record = existing(bucket, key);
    const asked = (name: string): string | undefined => headers[name]?.toString().replaceAll('"', '');
    if (asked('if-match') !== undefined && asked('if-match') !== record.etag) throw new PreconditionFailed();
    if (asked('if-none-match') === record.etag) return { status: 304, headers: { etag: `"${record.etag}"` } };
    const range = parseRange(headers.range, record.sizeBytes);
    const { start, end } = range ?? { start: 0, end: record.sizeBytes - 1 };
    return {
      status: range ? 206 : 200,
      headers: {
        'content-type': 'binary/octet-stream',
        ...record.headers,
        // Of the whole object, so not to be compared with a part of it.
        ...(headers['x-amz-checksum-mode'] === 'ENABLED' && !range ? record.checksums : {}),
        etag: `"${record.etag}"`,
        'last-modified': new Date(record.lastModified).toUTCString(),
        'accept-ranges': 'bytes',
        'content-length': String(end - start + 1),
        ...(range ? { 'content-range': `bytes ${start}-${end}/${record.sizeBytes}` } : {}),
      },
      ...(method === 'GET' && end >= start ? { body: createReadStream(store.pathOf(record), { start, end }) } : {}),
    };
  }

  async function put({ headers, body }: FakeRequest, bucket: string, key: string): Promise<Reply> {
    const draft = store.draft();
    const received = await receiveBody(body, headers, draft);
    const kept = keptHeaders(headers);
    const record = await commit(draft, { bucket, key, etag: received.md5, ...contents(received), headers: kept }, headers);
    logWrite('put', record);
    return { status: 200, headers: { etag: `"${record.etag}"`, ...received.checksums } };
  }

  async function commit(draft: string, object: Omit<ObjectRecord, 'file' | 'lastModified'>, headers: IncomingHttpHeaders): Promise<ObjectRecord> {
    const ifMatch = headers['if-match'];
    const ifNoneMatch = headers['if-none-match'];
    try {
      return store.commit(draft, object, { ...(ifMatch ? { ifMatch } : {}), ...(ifNoneMatch ? { ifNoneMatch } : {}) });
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }

  async function copy({ headers }: FakeRequest, bucket: string, key: string): Promise<Reply> {
    const [sourceBucket = '', ...rest] = decodeURIComponent(String(headers['x-amz-copy-source'])).replace(/^\//, '').split('/');
    const source = existing(sourceBucket, rest.join('/'));
    const draft = store.draft();
    await copyFile(store.pathOf(source), draft);
    const kept = headers['x-amz-metadata-directive'] === 'REPLACE' ? keptHeaders(headers) : source.headers;
    const { sizeBytes, etag, checksums } = source;
    const record = await commit(draft, { bucket, key, sizeBytes, etag, checksums, headers: kept }, {});
    logWrite('copy', record);
    return xml(xmlDocument('CopyObjectResult', { ETag: `"${record.etag}"`, LastModified: record.lastModified }));
  }

  function remove(bucket: string, key: string): void {
    log.append('s3', 'delete', `${bucket}/${key}`, { existed: store.delete(bucket, key) });
  }

  async function removeMany({ body }: FakeRequest, bucket: string): Promise<Reply> {
    const document = await text(body);
    const keys = xmlTexts(document, 'Key');
    if (keys.length === 0 || keys.length > 1000) throw new S3Error('MalformedXML', 'Delete takes 1 to 1000 keys');
    for (const key of keys) remove(bucket, key);
    const quiet = xmlTexts(document, 'Quiet')[0] === 'true';
    return xml(xmlDocument('DeleteResult', { Deleted: quiet ? [] : keys.map((Key) => ({ Key })) }));
  }

  function beginUpload({ headers }: FakeRequest, bucket: string, key: string): Reply {
    const uploadId = `upload-${Date.now()}-${++uploadCount}`;
    uploads.set(uploadId, { bucket, key, headers: keptHeaders(headers), initiated: new Date().toISOString(), parts: new Map() });
    return xml(xmlDocument('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId: uploadId }));
  }

  function upload(url: URL): Upload & { id: string } {
    const id = url.searchParams.get('uploadId') ?? '';
    const found = uploads.get(id);
    if (!found) throw new S3Error('NoSuchUpload', 'The specified multipart upload does not exist.');
    return { ...found, id };
  }

  async function putPart({ url, headers, body }: FakeRequest): Promise<Reply> {
    const { parts } = upload(url);
    const number = Number(url.searchParams.get('partNumber'));
    if (!(Number.isInteger(number) && number >= 1 && number <= 10_000)) throw new S3Error('InvalidArgument', 'partNumber is 1 to 10000');
    const draft = store.draft();
    const received = await receiveBody(body, headers, draft);
    const earlier = parts.get(number);
    parts.set(number, { ...received, draft });
    if (earlier) await rm(earlier.draft, { force: true });
    return { status: 200, headers: { etag: `"${received.md5}"`, ...received.checksums } };
  }

  async function completeUpload({ url, headers, body }: FakeRequest): Promise<Reply> {
    const { id, bucket, key, headers: kept, parts } = upload(url);
    const document = await text(body);
    const etags = xmlTexts(document, 'ETag').map((etag) => etag.replaceAll('"', ''));
    const numbers = xmlTexts(document, 'PartNumber').map(Number);
    const chosen = numbers.map((number, index) => {
      const part = parts.get(number);
      if (!part || part.md5 !== etags[index]) throw new S3Error('InvalidPart', `part ${number} is missing or another one`);
      if (index > 0 && number <= (numbers[index - 1] ?? 0)) throw new S3Error('InvalidPartOrder', 'parts must ascend');
      if (index < numbers.length - 1 && part.sizeBytes < 5 * 1024 * 1024) throw new S3Error('EntityTooSmall', `part ${number} is smaller than 5 MiB`);
      return part;
    });
    if (chosen.length === 0) throw new S3Error('MalformedXML', 'no parts');
    const draft = store.draft();
    for (const part of chosen) await pipeline(createReadStream(part.draft), createWriteStream(draft, { flags: 'a' }));
    const digest = createHash('md5');
    for (const part of chosen) digest.update(Buffer.from(part.md5, 'hex'));
    const etag = `${digest.digest('hex')}-${chosen.length}`;
    const sizeBytes = chosen.reduce((sum, part) => sum + part.sizeBytes, 0);
    const record = await commit(draft, { bucket, key, etag, sizeBytes, checksums: {}, headers: kept }, headers);
    await forget(id);
    logWrite('complete', record);
    return xml(xmlDocument('CompleteMultipartUploadResult', { Bucket: bucket, Key: key, ETag: `"${etag}"` }));
  }

  async function forget(id: string): Promise<void> {
    for (const part of uploads.get(id)?.parts.values() ?? []) await rm(part.draft, { force: true });
    uploads.delete(id);
  }

  function listParts({ url }: FakeRequest): Reply {
    const { id, bucket, key, parts } = upload(url);
    const Part = [...parts].toSorted(([a], [b]) => a - b).map(([PartNumber, part]) => ({ PartNumber, ETag: `"${part.md5}"`, Size: part.sizeBytes }));
    return xml(xmlDocument('ListPartsResult', { Bucket: bucket, Key: key, UploadId: id, IsTruncated: false, Part }));
  }

  function listUploads(bucket: string): Reply {
    const mine = [...uploads].filter(([, one]) => one.bucket === bucket);
    const Upload = mine.map(([UploadId, { key, initiated }]) => ({ Key: key, UploadId, Initiated: initiated }));
    return xml(xmlDocument('ListMultipartUploadsResult', { Bucket: bucket, IsTruncated: false, Upload }));
  }

  function logWrite(kind: string, { bucket, key, sizeBytes, etag, headers }: ObjectRecord): void {
    log.append('s3', kind, `${bucket}/${key}`, { sizeBytes, etag, contentType: headers['content-type'] });
  }

  const OPERATIONS: Record<string, (request: FakeRequest, bucket: string, key: string) => Reply | Promise<Reply>> = {
    HeadBucket: () => ({ status: 200, headers: { 'x-amz-bucket-region': 'us-east-1' } }),
    GetBucketLocation: () => xml(xmlDocument('LocationConstraint', {})),
    ListObjectsV2: ({ url }, bucket) => xml(listObjects(bucket, store.list(bucket), url.searchParams)),
    ListMultipartUploads: (_request, bucket) => listUploads(bucket),
    GetObject: read,
    HeadObject: read,
    PutObject: put,
    CopyObject: copy,
    DeleteObject: (_request, bucket, key) => {
      remove(bucket, key);
      return { status: 204 };
    },
    DeleteObjects: removeMany,
    CreateMultipartUpload: beginUpload,
    UploadPart: putPart,
    CompleteMultipartUpload: completeUpload,
    AbortMultipartUpload: async ({ url }) => {
      await forget(upload(url).id);
      return { status: 204 };
    },
    ListParts: listParts,
  };

  return httpFake({
    service: 's3',
    log,
    wholeBody: false,
    describe,
    keyOf: ({ bucket = '', key = '' }) => `${bucket}/${key}`,
    refuse: (action) => refuse(action),
    handle,
  });
}

type Part = Received & { draft: string };
type Upload = { bucket: string; key: string; headers: Record<string, string>; initiated: string; parts: Map<number, Part> };

class S3Error extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Which operation a request is: by method, by whether it has a key, and by its query's marks. */
function describe({ method, path, url, headers }: RequestHead): Facts {
  const [, bucket = '', ...rest] = path.split('/');
  const key = decodeURIComponent(rest.join('/'));
  const mark = (name: string): boolean => url.searchParams.has(name);
  const operation = ((): string => {
    if (bucket === '') return 'ListBuckets';
    if (key === '') {
      if (method === 'PUT') return 'CreateBucket';
      if (method === 'HEAD') return 'HeadBucket';
      if (method === 'POST' && mark('delete')) return 'DeleteObjects';
      if (mark('location')) return 'GetBucketLocation';
      if (mark('uploads')) return 'ListMultipartUploads';
      return method === 'GET' ? 'ListObjectsV2' : method;
    }
    if (mark('uploadId')) return { PUT: 'UploadPart', POST: 'CompleteMultipartUpload', DELETE: 'AbortMultipartUpload', GET: 'ListParts' }[method] ?? method;
    if (method === 'POST' && mark('uploads')) return 'CreateMultipartUpload';
    if (method === 'PUT') return headers['x-amz-copy-source'] === undefined ? 'PutObject' : 'CopyObject';
    return { GET: 'GetObject', HEAD: 'HeadObject', DELETE: 'DeleteObject' }[method] ?? method;
  })();
  return { operation, method, bucket: decodeURIComponent(bucket), key };
}

function unknownOperation({ facts }: FakeRequest): Reply {
  throw new S3Error('NotImplemented', `the fake does not know ${facts['operation']}`);
}

function checkExpiry({ searchParams }: URL): void {
  const date = searchParams.get('X-Amz-Date');
  if (date === null) return;
  const [year, month, day, hour, minute, second] = (date.match(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/) ?? []).slice(1).map(Number);
  const signedAt = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
  if (Date.now() > signedAt + Number(searchParams.get('X-Amz-Expires')) * 1000) throw new S3Error('AccessDenied', 'Request has expired');
}

function parseRange(header: string | undefined, sizeBytes: number): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === '' || last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (start > end) throw new S3Error('InvalidRange', 'The requested range is not satisfiable');
  return { start, end };
}

const KEPT = new Set(['content-type', 'cache-control', 'content-disposition', 'content-language', 'expires']);

function keptHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (KEPT.has(name) || name.startsWith('x-amz-meta-')) kept[name] = String(value);
  }
  // aws-chunked describes the transfer, not the object.
  const encoding = String(headers['content-encoding'] ?? '').replaceAll(/\s*aws-chunked\s*,?\s*/g, '');
  if (encoding !== '') kept['content-encoding'] = encoding;
  return kept;
}

const contents = ({ sizeBytes, checksums }: Received): { sizeBytes: number; checksums: Record<string, string> } => ({ sizeBytes, checksums });

const xml = (body: string): Reply => ({ status: 200, headers: { 'content-type': 'application/xml' }, body });

/** Codes and their status, as the S3 API reference lists them under "Error responses". */
const STATUS: Record<string, number> = {
  AccessDenied: 403,
  BadDigest: 400,
  BucketAlreadyOwnedByYou: 409,
  ConditionalRequestConflict: 409,
  InternalError: 500,
  InvalidRange: 416,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  NotImplemented: 501,
  PreconditionFailed: 412,
  RequestTimeout: 400,
  ServiceUnavailable: 503,
  SlowDown: 503,
};
const CODE: Record<number, string> = {
  403: 'AccessDenied',
  404: 'NoSuchKey',
  409: 'ConditionalRequestConflict',
  412: 'PreconditionFailed',
  500: 'InternalError',
  503: 'SlowDown',
};

function errorReply(code: string, message: string): Reply {
  return { status: STATUS[code] ?? 400, headers: { 'content-type': 'application/xml' }, body: xmlError(code, message) };
}

function refuse({ status, code = CODE[status ?? 500] ?? 'InternalError', body }: Action): Reply {
  const reply = errorReply(code, body ?? `scripted: ${code}`);
  return { ...reply, status: status ?? reply.status, ...(body?.startsWith('<') ? { body } : {}) };
}

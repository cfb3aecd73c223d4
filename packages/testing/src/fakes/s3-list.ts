import type { ObjectRecord } from './s3-store.ts';
import { xmlDocument } from './s3-xml.ts';

/** ListObjectsV2: prefix, delimiter, pages by continuation token, start-after, and encoding-type. */
export function listObjects(bucket: string, objects: readonly ObjectRecord[], query: URLSearchParams): string {
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const maxKeys = Math.min(Number(query.get('max-keys') ?? 1000), 1000);
  const token = query.get('continuation-token');
  const after = token === null ? query.get('start-after') : Buffer.from(token, 'base64url').toString();
  const encode = query.get('encoding-type') === 'url' ? encodeURIComponent : (text: string): string => text;

  const found: ObjectRecord[] = [];
  const folders = new Set<string>();
  let last = '';
  let isTruncated = false;
  for (const object of objects) {
    const { key } = object;
    if (!key.startsWith(prefix) || (after !== null && compare(key, after) <= 0)) continue;
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const folder = end === -1 ? undefined : key.slice(0, end + delimiter.length);
    if (folder !== undefined && (folders.has(folder) || (token !== null && after?.startsWith(folder)))) {
      // Counted already, on this page or, when the last page ended in it, on that one.
      if (folders.has(folder)) last = key;
      continue;
    }
    if (found.length + folders.size >= maxKeys) {
      isTruncated = true;
      break;
    }
    if (folder === undefined) found.push(object);
    else folders.add(folder);
    last = key;
  }
  return xmlDocument('ListBucketResult', {
    Name: bucket,
    Prefix: encode(prefix),
    Delimiter: delimiter === '' ? undefined : encode(delimiter),
    EncodingType: query.get('encoding-type') ?? undefined,
    MaxKeys: maxKeys,
    KeyCount: found.length + folders.size,
    IsTruncated: isTruncated,
    ContinuationToken: token ?? undefined,
    NextContinuationToken: isTruncated ? Buffer.from(last).toString('base64url') : undefined,
    Contents: found.map(({ key, etag, sizeBytes, lastModified }) => ({
      Key: encode(key),
      LastModified: lastModified,
      ETag: `"${etag}"`,
      Size: sizeBytes,
      StorageClass: 'STANDARD',
    })),
    CommonPrefixes: [...folders].map((folder) => ({ Prefix: encode(folder) })),
  });
}

const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

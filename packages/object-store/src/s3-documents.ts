import type { IncomingMessage } from 'node:http';
import { readText } from './s3-request.ts';
import { StrangeAnswer, refusalOf } from './s3-refusal.ts';
import { type XmlElement, childText, childrenOf, escapeXml, parseXml } from './s3-xml.ts';

/** A page of 1,000 keys of the longest kind, each byte of them percent-encoded, has 3.5 MB. */
const DOCUMENT_BYTES = 4 * 1024 * 1024;

/** One row of a listing. */
export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly lastModified: Date;
}

/** One page of a listing. */
export interface ListedPage {
  readonly objects: readonly ListedObject[];
  /** Continues after this page; undefined on the last. */
  readonly nextToken: string | undefined;
}

/** A key that a bulk delete left. */
export interface DeleteFailure {
  readonly key: string;
  readonly code: string;
  readonly message: string;
}

/** The answer to ListObjectsV2. */
export async function readListing(answer: IncomingMessage): Promise<ListedPage> {
  const page = await readDocument(answer, 'ListBucketResult');
  // Said only by a store that did it. As in a form, a plus is a space.
  const decode = childText(page, 'EncodingType') === 'url' ? (text: string) => decodeURIComponent(text.replaceAll('+', ' ')) : (text: string) => text;
  const objects = childrenOf(page, 'Contents').flatMap((row) => {
    const key = childText(row, 'Key');
    const lastModified = new Date(childText(row, 'LastModified') ?? Number.NaN);
    return key === undefined || Number.isNaN(lastModified.getTime())
      ? []
      : [{ key: decode(key), sizeBytes: Number(childText(row, 'Size') ?? 0), lastModified }];
  });
  const nextToken = childText(page, 'IsTruncated') === 'true' ? childText(page, 'NextContinuationToken') : undefined;
  if (nextToken === undefined && childText(page, 'IsTruncated') === 'true')
    throw new StrangeAnswer(answer.statusCode ?? 0, 'a page that is not the last names no next one');
  return { objects, nextToken };
}

/** The body of DeleteObjects, which then answers only what failed. */
export function deleteDocument(keys: readonly string[]): Buffer {
  const objects = keys.map((key) => `<Object><Key>${escapeXml(key)}</Key></Object>`);
  return Buffer.from(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${objects.join('')}</Delete>`);
}

/** The answer to DeleteObjects. */
export async function readDeleteResult(answer: IncomingMessage): Promise<readonly DeleteFailure[]> {
  const result = await readDocument(answer, 'DeleteResult');
  return childrenOf(result, 'Error').map((row) => ({
    key: childText(row, 'Key') ?? '',
    code: childText(row, 'Code') ?? 'Unknown',
    message: childText(row, 'Message') ?? '',
  }));
}

/**
 * @throws {S3Refusal} an error that came with status 200, because it was found too late for another one
 * @throws {StrangeAnswer} neither that nor the document
 */
async function readDocument(answer: IncomingMessage, root: string): Promise<XmlElement> {
  const status = answer.statusCode ?? 0;
  const text = await readText(answer, DOCUMENT_BYTES);
  const document = parseXml(text, root);
  if (document !== undefined) return document;
  throw text === '' ? new StrangeAnswer(status, 'the answer is empty') : refusalOf(status, answer.headers, text);
}

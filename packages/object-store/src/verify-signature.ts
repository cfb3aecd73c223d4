import { createHash, createHmac } from 'node:crypto';

/** What of a request is signed. Header names in lower case, as Node gives them. */
export interface SignedRequest {
  readonly method: string;
  /** As it came over the wire, query included. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** The headers without which S3 refuses a request, beside every `x-amz-` one. */
const MUST_BE_SIGNED = ['host', 'x-amz-content-sha256', 'x-amz-date'];

/**
 * The store's half of signature version 4, written after
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and
 * independently of what signs. Undefined for a good signature, else what is wrong.
 */
export function signatureProblem({ method, url, headers }: SignedRequest, secretAccessKey: string): string | undefined {
  const parts = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
    String(headers['authorization']),
  );
  if (parts === null) return 'there is no signature';
  const [, , day = '', region = '', names = '', signature] = parts;
  const signed = names.split(';');
  const needed = [...MUST_BE_SIGNED, ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))];
  const missing = needed.find((name) => !signed.includes(name));
  if (missing !== undefined) return `${missing} is not signed`;
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const canonical = [
    method,
    path.split('/').map(canonicalText).join('/'),
    query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => pair.split(/=(.*)/s))
      .map(([name = '', value = '']) => `${canonicalText(name)}=${canonicalText(value)}`)
      .toSorted()
      .join('&'),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replaceAll(/ +/g, ' ')}`),
    '',
    names,
    headers['x-amz-content-sha256'],
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const key = [day, region, 's3', 'aws4_request'].reduce((last: Buffer | string, part) => hmac(last, part), `AWS4${secretAccessKey}`);
  return hmac(key, toSign).toString('hex') === signature ? undefined : `another signature than that of\n${canonical}`;
}

function canonicalText(encoded: string): string {
  // A plus in a query is a plus; only forms mean a space by it.
  return Array.from(Buffer.from(decodeURIComponent(encoded)), (byte) =>
    /[\w.~-]/.test(String.fromCharCode(byte)) && byte < 0x80 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  ).join('');
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

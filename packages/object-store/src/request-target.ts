/** Where requests to one bucket go. */
export interface RequestTarget {
  readonly secure: boolean;
  readonly hostname: string;
  readonly port: number | undefined;
  /** What the Host header says; it is signed. */
  readonly host: string;
  /** The path of a key, percent-encoded; of the bucket itself without one. */
  path(key?: string): string;
}

/** A name that can be a part of a host's name under one wildcard certificate. */
const HOST_LABEL = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/;

/** AWS has the bucket in the host's name; every other store, and AWS for a name that cannot be there, in the path. */
export function createRequestTarget({ region, bucket, endpoint }: { region: string; bucket: string; endpoint?: string | undefined }): RequestTarget {
  const inHost = endpoint === undefined && HOST_LABEL.test(bucket);
  const url = new URL(endpoint ?? `https://${inHost ? `${bucket}.` : ''}s3.${region}.amazonaws.com`);
  const base = `${url.pathname.replace(/\/+$/, '')}${inHost ? '' : `/${encodePath(bucket)}`}`;
  return {
    secure: url.protocol === 'https:',
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? undefined : Number(url.port),
    host: url.host,
    path: (key = '') => `${base}/${encodePath(key)}`,
  };
}

/**
 * Percent-encodes once, as the signature has it: everything but unreserved
 * characters and the slash. Not through `URL`, which would resolve "..", a legal part of a key.
 */
function encodePath(path: string): string {
  return path.split('/').map(encodeStrictly).join('/');
}

/** As a part of a query, too. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

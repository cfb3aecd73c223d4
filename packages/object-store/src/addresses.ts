/** Where a bucket's objects are seen from outside. */
export interface AddressOptions {
  readonly region: string;
  readonly bucket: string;
  readonly endpoint?: string | undefined;
  readonly publicBaseUrl?: string | undefined;
}

/** Keys to URLs and back. */
export interface Addresses {
  /** The URL that clients fetch the object at, percent-encoded. */
  publicUrl(key: string): string;
  /**
   * The key inside our bucket that a URL names; undefined for a URL of anything
   * else. Understands the public base, the endpoint, AWS's virtual-hosted and
   * path-style addresses and `s3://`, and ignores query (presigned) and fragment.
   */
  keyOf(url: string): string | undefined;
}

/** Makes the two directions from one list of prefixes, so that they cannot disagree. */
export function createAddresses(options: AddressOptions): Addresses {
  const { region, bucket } = options;
  const own = options.endpoint === undefined ? `https://${bucket}.s3.${region}.amazonaws.com` : `${trim(options.endpoint)}/${bucket}`;
  const base = options.publicBaseUrl === undefined ? own : trim(options.publicBaseUrl);
  const prefixes = [
    base,
    own,
    `s3://${bucket}`,
    `https://${bucket}.s3.${region}.amazonaws.com`,
    `https://${bucket}.s3.amazonaws.com`,
    `https://s3.${region}.amazonaws.com/${bucket}`,
    `https://s3.amazonaws.com/${bucket}`,
  ].map((prefix) => `${prefix}/`);
  return {
    publicUrl: (key) => `${base}/${key.split('/').map(encodeURIComponent).join('/')}`,
    keyOf(url) {
      const bare = url.replace(/[?#].*$/s, '');
      const prefix = prefixes.find((candidate) => bare.startsWith(candidate));
      if (prefix === undefined || bare.length === prefix.length) return undefined;
      try {
        // Not through `new URL`: it would resolve "..", which is a legal part of a key.
        return decodeURIComponent(bare.slice(prefix.length));
      } catch {
        return undefined;
      }
    },
  };
}

function trim(url: string): string {
  return url.replace(/\/+$/, '');
}

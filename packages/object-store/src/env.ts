import { secret, text, url } from '@backhaul/runtime';
import type { ObjectStoreOptions } from './object-store.ts';

/** The variables of a process that uses the object store. Spread into the service's own schema. */
export const objectStoreEnv = {
  AWS_REGION: text(),
  AWS_ACCESS_KEY_ID: secret(),
  AWS_SECRET_ACCESS_KEY: secret(),
  AWS_S3_BUCKET: text(),
  /** A store that speaks S3 but is not AWS. Buckets are then addressed by path. */
  AWS_ENDPOINT_URL_S3: url('http', 'https').optional(),
  /** What people's clients put before a key, such as a CDN's address; the bucket's own address if not set. */
  MEDIA_BASE_URL: url('http', 'https').optional(),
};

/** The configuration that `objectStoreEnv` yields. */
interface ObjectStoreConfig {
  readonly AWS_REGION: string;
  readonly AWS_ACCESS_KEY_ID: string;
  readonly AWS_SECRET_ACCESS_KEY: string;
  readonly AWS_S3_BUCKET: string;
  readonly AWS_ENDPOINT_URL_S3?: string | undefined;
  readonly MEDIA_BASE_URL?: string | undefined;
}

/** Options for `createObjectStore` out of a parsed configuration. */
export function objectStoreOptions(config: ObjectStoreConfig): ObjectStoreOptions {
  return {
    region: config.AWS_REGION,
    accessKeyId: config.AWS_ACCESS_KEY_ID,
    secretAccessKey: config.AWS_SECRET_ACCESS_KEY,
    bucket: config.AWS_S3_BUCKET,
    endpoint: config.AWS_ENDPOINT_URL_S3,
    publicBaseUrl: config.MEDIA_BASE_URL,
  };
}

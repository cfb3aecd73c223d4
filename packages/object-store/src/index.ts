export { objectStoreEnv, objectStoreOptions } from './env.ts';
export { AccessRefused, ObjectMissing, ObjectTooLarge, StoreUnavailable } from './failures.ts';
export {
  createObjectStore,
  type Body,
  type Deleted,
  type Fetched,
  type GetOptions,
  type ObjectHead,
  type ObjectStore,
  type ObjectStoreOptions,
  type OpenObject,
  type PutOptions,
} from './object-store.ts';
export type { ListedObject } from './s3-documents.ts';

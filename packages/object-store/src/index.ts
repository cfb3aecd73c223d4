export { objectStoreEnv, objectStoreOptions } from './env.ts';
export { AccessRefused, ObjectChanged, ObjectMissing, ObjectTooLarge, StoreUnavailable } from './failures.ts';
export {
  createObjectStore,
  type Body,
  type Deleted,
  type Fetched,
  type GetOptions,
  type ListedObject,
  type ObjectHead,
  type ObjectStore,
  type ObjectStoreOptions,
  type PutOptions,
} from './object-store.ts';

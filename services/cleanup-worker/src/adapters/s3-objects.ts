import type { Objects } from '@backhaul/jobs/cleanup';
import type { ObjectStore } from '@backhaul/object-store';

/** The bucket, as the cleanup handlers see it. */
export function s3Objects(store: ObjectStore): Objects {
  return {
    async *list(prefix, { after, signal }) {
      for await (const { key, lastModified } of store.list(prefix, { startAfter: after, signal })) yield { key, modifiedAt: lastModified };
    },
    async deleteMany(keys, signal) {
      const { failed } = await store.deleteMany(keys, { signal });
      return new Set(failed.map(({ key }) => key));
    },
    keyOf: (url) => store.keyOf(url),
    publicUrl: (key) => store.publicUrl(key),
  };
}

import type { Closeable } from '@backhaul/runtime';

/** A connection that is opened when it is first asked for. */
export interface OnDemand<Resource> extends Closeable {
  /** Opens it, or gives the open one. A failure is not remembered: the next call tries again. */
  readonly get: () => Promise<Resource>;
}

/** Keeps a resource that most lives of this process never need, such as the connection that only a retry uses. */
export function onDemand<Resource extends Closeable>(open: () => Resource | Promise<Resource>): OnDemand<Resource> {
  let opening: Promise<Resource> | undefined;
  return {
    get() {
      opening ??= Promise.resolve()
        .then(open)
        .catch((error: unknown) => {
          opening = undefined;
          throw error;
        });
      return opening;
    },
    async close() {
      const resource = await opening?.catch(() => undefined);
      await resource?.close();
    },
  };
}

import type { JobContext } from '@backhaul/queue/job';
import type { Disposal } from './dispose-rows.ts';
import type { CleanupPorts, MediaRow } from './ports.ts';

type Context = Pick<JobContext<Pick<CleanupPorts, 'objects'>>, 'ports' | 'signal'>;

/** Keys of one row that must be gone before it may go. */
export type KeysOf = (row: MediaRow) => Promise<readonly string[]>;

/** The objects behind a row's own URLs, without those that other rows show and those that are not ours. */
export function ownKeys(row: MediaRow, keyOf: (url: string) => string | undefined): string[] {
  const shared = new Set(row.sharedUrls);
  return row.urls.filter((url) => !shared.has(url)).flatMap((url) => keyOf(url) ?? []);
}

/** Deletes the objects of a batch of rows, and says which rows have none left. */
export async function deleteMedia({ ports, signal }: Context, rows: readonly MediaRow[], keysOf: KeysOf): Promise<Disposal> {
  const keysByRow = new Map<string, readonly string[]>();
  // A few at a time: a listing per row, all at once, would be a burst of a thousand requests on the store.
  const waiting = [...rows];
  const worker = async () => {
    for (let row = waiting.pop(); row !== undefined; row = waiting.pop()) keysByRow.set(row.id, await keysOf(row));
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const keys = new Set([...keysByRow.values()].flat());
  const failed = keys.size === 0 ? new Set<string>() : await ports.objects.deleteMany([...keys], signal);
  return {
    disposed: rows.filter((row) => !(keysByRow.get(row.id) ?? []).some((key) => failed.has(key))).map((row) => row.id),
    deletedObjects: keys.size - failed.size,
  };
}

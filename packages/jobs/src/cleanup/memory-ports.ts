import type { JobContext } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import type { CleanupPorts, Cursors, ExpiringRows, MediaRow, Objects } from './ports.ts';

/** A context whose ports are the given ones; any other that a handler touches fails the test by name. Its pace is quick. */
export function contextWith(ports: Partial<CleanupPorts>, signal: AbortSignal = new AbortController().signal): JobContext<CleanupPorts> {
  const given: Partial<CleanupPorts> = { pace: { batchSize: 2, pauseMs: 0, budgetMs: 10_000 }, ...ports };
  const all = new Proxy(given, {
    get(target, name) {
      if (name in target) return target[name as keyof CleanupPorts];
      throw new Error(`the handler used the port ${String(name)}, which this test did not expect`);
    },
  });
  return { ports: all as CleanupPorts, signal, log: silentLogger, messageId: 'cleanup-1', attempt: 1, lastTry: false, progress: () => undefined };
}

/** Rows in memory, all expired, the oldest first. `remaining` is what is left. */
export function memoryRows<Row extends { readonly id: string }>(
  rows: readonly Row[],
): ExpiringRows<Row> & { readonly remaining: readonly Row[]; readonly asked: number[] } {
  let remaining = [...rows];
  const asked: number[] = [];
  return {
    asked,
    get remaining() {
      return remaining;
    },
    async takeBatch({ olderThanMs, limit, skip }, dispose) {
      asked.push(olderThanMs);
      const batch = remaining.filter((row) => !skip.includes(row.id)).slice(0, limit);
      if (batch.length === 0) return { taken: 0, deleted: 0 };
      const disposed = new Set(await dispose(batch));
      remaining = remaining.filter((row) => !disposed.has(row.id));
      return { taken: batch.length, deleted: disposed.size };
    },
  };
}

/** A row with media in the bucket `https://media.example`. */
export function mediaRow(id: string, urls: readonly string[] = [], sharedUrls: readonly string[] = []): MediaRow {
  return { id, urls, sharedUrls, hasMedia: urls.length > 0 };
}

/** A bucket in memory, whose objects are as old as `modifiedAt`. */
export function memoryObjects(
  keys: readonly string[],
  { modifiedAt = new Date(0), undeletable = [] }: { modifiedAt?: Date; undeletable?: readonly string[] } = {},
): Objects & { readonly keys: ReadonlySet<string>; readonly listed: string[] } {
  const present = new Set(keys);
  const listed: string[] = [];
  const base = 'https://media.example/';
  return {
    keys: present,
    listed,
    async *list(prefix, { after = '' }) {
      listed.push(prefix);
      for (const key of [...present].toSorted()) if (key.startsWith(prefix) && key > after) yield { key, modifiedAt };
    },
    async deleteMany(gone) {
      const failed = new Set(gone.filter((key) => undeletable.includes(key)));
      for (const key of gone) if (!failed.has(key)) present.delete(key);
      return failed;
    },
    keyOf: (url) => (url.startsWith(base) ? url.slice(base.length) : undefined),
    publicUrl: (key) => base + key,
  };
}

/** Cursors in memory. */
export function memoryCursors(): Cursors & { readonly saved: Map<string, string> } {
  const saved = new Map<string, string>();
  return {
    saved,
    async load(name) {
      return saved.get(name);
    },
    async save(name, position) {
      if (position === undefined) saved.delete(name);
      else saved.set(name, position);
    },
  };
}

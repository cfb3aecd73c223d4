import type { JobContext } from '@backhaul/queue/job';
import { type CleanupReport, inBatches } from './in-batches.ts';
import type { CleanupPorts, ExpiringRows } from './ports.ts';

/** What became of a batch's belongings. */
export interface Disposal {
  /** Rows without belongings now: they may go. */
  readonly disposed: readonly string[];
  /** Objects or files deleted. */
  readonly deletedObjects: number;
}

/** Some belongings could not be deleted, so their rows were kept. Transient unless it keeps coming. */
export class NotDisposed extends Error {
  readonly code = 'not_disposed';

  constructor(rows: readonly string[], report: CleanupReport) {
    super(
      `${rows.length} rows were kept because what belongs to them could not be deleted: ${rows.slice(0, 5).join(', ')}; the rest was done (${report.rows} rows)`,
    );
    this.name = 'NotDisposed';
  }
}

/** More rows than this that cannot be disposed of mean that the store is at fault, not the rows. */
const MAX_KEPT = 1_000;

/**
 * Deletes expired rows, belongings first, then the row. In this order a crash
 * leaves a row whose object is gone, which the re-run deletes and nobody sees
 * meanwhile, as it had expired; the other order would leave an object that
 * nothing points at, for ever.
 *
 * @returns the report and the rows that had to be kept
 */
export async function disposeRows<Row extends { readonly id: string }>(
  context: Pick<JobContext<CleanupPorts>, 'ports' | 'signal' | 'log'>,
  table: ExpiringRows<Row>,
  options: { readonly olderThanMs: number; readonly limit: number | undefined },
  dispose: (rows: readonly Row[]) => Promise<Disposal>,
): Promise<{ report: CleanupReport; kept: readonly string[] }> {
  const kept: string[] = [];
  const report = await inBatches(context, options.limit, async (size) => {
    let deletedObjects = 0;
    const { taken, deleted } = await table.takeBatch({ olderThanMs: options.olderThanMs, limit: size, skip: kept }, async (rows) => {
      const disposal = await dispose(rows);
      deletedObjects = disposal.deletedObjects;
      const gone = new Set(disposal.disposed);
      kept.push(...rows.map((row) => row.id).filter((id) => !gone.has(id)));
      return disposal.disposed;
    });
    return { rows: deleted, objects: deletedObjects, last: taken < size || kept.length >= MAX_KEPT };
  });
  return { report: kept.length >= MAX_KEPT ? { ...report, complete: false } : report, kept };
}

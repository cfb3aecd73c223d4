import { describeError } from '@backhaul/runtime';
import { type JobHandler, done } from '@backhaul/queue/job';
import type { z } from 'zod';
import type { CleanupPorts } from '../ports.ts';
import type { maintainDatabase } from './job.ts';

/** The chat's tables that the jobs delete from. */
const VACUUMED = ['stories', 'user_sessions', 'messages', 'temporary_files', 'user_prekeys'] as const;

/** A table that cannot be vacuumed (locked, too large for the time) is reported, and the next one is tried: autovacuum is still there. */
export const maintainDatabaseHandler: JobHandler<z.output<typeof maintainDatabase.payload>, CleanupPorts> = async (_payload, { ports, signal, log }) => {
  const startedAt = performance.now();
  // Pruning has no end of its own before the table's: it stops when the time is up, and goes on tomorrow.
  const pruned = await ports.maintenance.prune({
    batchSize: ports.pace.batchSize,
    signal: AbortSignal.any([signal, AbortSignal.timeout(ports.pace.budgetMs)]),
  });
  signal.throwIfAborted();
  const vacuumed: Record<string, number> = {};
  const notVacuumed: Record<string, string> = {};
  for (const table of VACUUMED) {
    signal.throwIfAborted();
    if (performance.now() - startedAt > ports.pace.budgetMs) {
      notVacuumed[table] = 'out of time';
      continue;
    }
    const tableStartedAt = performance.now();
    try {
      await ports.maintenance.vacuum(table);
      vacuumed[table] = Math.round(performance.now() - tableStartedAt);
    } catch (error) {
      log.warn('table not vacuumed', { table, error });
      notVacuumed[table] = describeError(error).message;
    }
  }
  return done({ pruned, vacuumedMs: vacuumed, notVacuumed, complete: Object.keys(notVacuumed).length === 0 });
};

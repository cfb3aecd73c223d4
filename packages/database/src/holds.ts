import type { Database } from './database.ts';

/** Keeps two processes from working on the same thing at once. */
export interface Holds {
  /**
   * Takes a name for this caller; 'taken' when somebody else has it, at once and without waiting.
   * Free again on disposal, when the process dies, and after `longestMs` whatever happens.
   * @throws {DatabaseUnavailable}
   */
  hold(name: string): Promise<AsyncDisposable | 'taken'>;
}

/**
 * Advisory locks, each in a transaction of its own, which works behind every
 * kind of connection pooler and blocks no row.
 *
 * @param database used for nothing else, with as many connections as there are
 * holds at once: one that shared its connections with the work under a hold
 * could wait for itself for ever
 * @param longestMs after it the server ends the transaction: a holder that the
 * network has cut off would otherwise hold on for as long as its socket looks alive
 */
export function createHolds(database: Database, { longestMs }: { readonly longestMs: number }): Holds {
  return {
    async hold(name) {
      const { promise: released, resolve: release } = Promise.withResolvers<undefined>();
      const { promise: answered, resolve: answer, reject } = Promise.withResolvers<boolean>();
      const transaction = database.transaction(async (client) => {
        const { rows } = await client.query<{ taken: boolean }>(
          `SELECT set_config('idle_in_transaction_session_timeout', $2, true), pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS taken`,
          [name, String(longestMs)],
        );
        const taken = rows[0]?.taken === true;
        answer(taken);
        if (taken) await released;
      });
      // What goes wrong once the hold is ours (the connection breaks, the time is over) frees it as well: no reason to fail the work.
      transaction.catch(reject);
      if (!(await answered)) {
        await transaction;
        return 'taken';
      }
      return {
        async [Symbol.asyncDispose]() {
          release(undefined);
          await transaction.catch(() => undefined);
        },
      };
    },
  };
}

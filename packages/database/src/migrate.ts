import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Database } from './database.ts';

const FOLDER = fileURLToPath(new URL('./migrations/', import.meta.url));
/** Any number will do, as long as every process uses the same: the lock that makes concurrent starts take turns. */
const LOCK_KEY = 4_221_889;

/** The database's schema is not the one this version was written for. The operator must act. */
export class SchemaMismatch extends Error {
  readonly code = 'schema_mismatch';

  constructor(message: string) {
    super(message);
    this.name = 'SchemaMismatch';
  }
}

/**
 * Brings the schema `backhaul` up to date: each file of `migrations/` once, in
 * the order of its name, all in one transaction. Safe to run from many
 * processes at once, and when there is nothing to do.
 *
 * @returns the names of the migrations that were applied
 * @throws {SchemaMismatch} when a migration that was applied has been edited since
 */
export async function migrate(database: Database): Promise<string[]> {
  return database.transaction(async (client) => {
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK_KEY]);
    await client.query('CREATE SCHEMA IF NOT EXISTS backhaul');
    await client.query(
      'CREATE TABLE IF NOT EXISTS backhaul.schema_migrations (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
    );
    const { rows } = await client.query<{ name: string; sha256: string }>('SELECT name, sha256 FROM backhaul.schema_migrations');
    const known = new Map(rows.map((row) => [row.name, row.sha256]));
    const applied: string[] = [];
    for (const migration of migrations()) {
      const before = known.get(migration.name);
      if (before === migration.sha256) continue;
      if (before !== undefined) throw new SchemaMismatch(`migration ${migration.name} was edited after it had been applied: put it back and add a new one`);
      await client.query(migration.sql);
      await client.query('INSERT INTO backhaul.schema_migrations (name, sha256) VALUES ($1, $2)', [migration.name, migration.sha256]);
      applied.push(migration.name);
    }
    return applied;
  });
}

/** The names of the migrations that have not been applied yet; all of them when there is no schema. */
export async function pendingMigrations(database: Database): Promise<string[]> {
  const { rows: tables } = await database.query<{ found: string | null }>(`SELECT to_regclass('backhaul.schema_migrations')::text AS found`);
  if (tables[0]?.found == null) return migrations().map(({ name }) => name);
  const { rows } = await database.query<{ name: string }>('SELECT name FROM backhaul.schema_migrations');
  const applied = new Set(rows.map((row) => row.name));
  return migrations()
    .map(({ name }) => name)
    .filter((name) => !applied.has(name));
}

function migrations(): { name: string; sql: string; sha256: string }[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.sql'))
    .toSorted()
    .map((name) => {
      const sql = readFileSync(`${FOLDER}${name}`, 'utf8');
      return { name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
    });
}

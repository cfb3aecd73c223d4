import { type Database, adviseChatIndexes, checkChatTables, pendingMigrations } from '@backhaul/database';
import { type Finding, advice, ok, problem } from './finding.ts';

/** What the fleet's statements do with the chat app's tables. */
const CHAT_PRIVILEGES: Readonly<Record<string, readonly string[]>> = {
  messages: ['SELECT', 'UPDATE', 'DELETE'],
  stories: ['SELECT', 'DELETE'],
  user_sessions: ['SELECT', 'UPDATE', 'DELETE'],
  user_prekeys: ['SELECT', 'DELETE'],
  notifications: ['INSERT'],
  temporary_files: ['SELECT', 'DELETE'],
};
const OWN_PRIVILEGES = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];

/** Postgres: it answers, the schema is there and up to date, the role may do what the fleet does, the chat app's tables fit. */
export async function checkPostgres(database: Database): Promise<Finding[]> {
  const { rows } = await database.query<{ version: string; role: string; mayCreate: boolean; readOnly: boolean }>(
    `SELECT current_setting('server_version') AS version, current_user AS role, has_database_privilege(current_database(), 'CREATE') AS "mayCreate", pg_is_in_recovery() AS "readOnly"`,
  );
  const server = rows[0];
  if (server === undefined) throw new Error('Postgres answered without a row');
  const findings = [ok('postgres.version', `${server.version}, as ${server.role}`)];
  if (Number.parseInt(server.version, 10) < 13)
    findings.push(problem('postgres.supported', `Postgres ${server.version} is too old`, 'use Postgres 13 or newer'));
  if (server.readOnly) findings.push(problem('postgres.writable', 'this server is a read-only replica', 'point DATABASE_URL at the primary'));

  const pending = await pendingMigrations(database);
  findings.push(
    pending.length === 0
      ? ok('postgres.migrations', 'all applied')
      : problem(
          'postgres.migrations',
          `not applied: ${pending.join(', ')}`,
          server.mayCreate
            ? 'start the bridge or the scheduler, they apply migrations'
            : `GRANT CREATE ON DATABASE .. TO ${server.role}, then start the bridge or the scheduler, they apply migrations`,
        ),
  );
  findings.push(await checkPrivileges(database, server.role));

  const wrong = await checkChatTables(database);
  findings.push(
    wrong.length === 0
      ? ok('postgres.chat_tables', 'as the workers need them')
      : problem('postgres.chat_tables', wrong.join('; '), 'in production the chat app makes these tables; in development make up, make dev and make demo do'),
  );
  const missingIndexes = await adviseChatIndexes(database);
  findings.push(
    missingIndexes.length === 0
      ? ok('postgres.chat_indexes', 'all there')
      : advice('postgres.chat_indexes', `${missingIndexes.length} missing: statements read whole tables`, missingIndexes.join('\n')),
  );
  return findings;
}

async function checkPrivileges(database: Database, role: string): Promise<Finding> {
  const chat = Object.entries(CHAT_PRIVILEGES).flatMap(([table, privileges]) => privileges.map((privilege) => [table, privilege] as const));
  const { rows: own } = await database.query<{ name: string }>(
    `SELECT 'backhaul.' || relname AS name FROM pg_class WHERE relnamespace = to_regnamespace('backhaul') AND relkind IN ('r', 'p')`,
  );
  const wanted = [...chat, ...own.flatMap(({ name }) => OWN_PRIVILEGES.map((privilege) => [name, privilege] as const))];
  // A table that is not there is the business of the other checks.
  const { rows } = await database.query<{ table: string; privilege: string }>(
    `SELECT t AS "table", p AS privilege FROM unnest($1::text[], $2::text[]) AS wanted(t, p) WHERE to_regclass(t) IS NOT NULL AND NOT has_table_privilege(to_regclass(t), p)`,
    [wanted.map(([table]) => table), wanted.map(([, privilege]) => privilege)],
  );
  if (rows.length === 0) return ok('postgres.permissions', 'as the fleet needs them');
  return problem(
    'postgres.permissions',
    `${role} lacks ${rows.map(({ table, privilege }) => `${privilege} on ${table}`).join(', ')}`,
    rows.map(({ table, privilege }) => `GRANT ${privilege} ON ${table} TO ${role};`).join(' '),
  );
}

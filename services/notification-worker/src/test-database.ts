import { randomUUID } from 'node:crypto';
import { type Database, createChatTables, createDatabase, migrate } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';

/** For tests: an empty database of its own on the shared server, with every table. */
export async function createTestDatabase(): Promise<{ database: Database; url: string; close(): Promise<void> }> {
  const open = (url: string) => createDatabase({ url, poolSize: 4, statementTimeoutMs: 10_000, applicationName: 'test', log: silentLogger });
  const adminUrl = sharedStack().env['DATABASE_URL'] ?? '';
  const name = `notify_${randomUUID().replaceAll('-', '')}`;
  const admin = open(adminUrl);
  await admin.query(`CREATE DATABASE ${name}`);
  const url = Object.assign(new URL(adminUrl), { pathname: `/${name}` }).href;
  const database = open(url);
  await migrate(database);
  await createChatTables(database);
  return {
    database,
    url,
    async close() {
      await database.close();
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.close();
    },
  };
}

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, createChatTables, createDatabase, migrate } from '@backhaul/database';
import type { CleanupPorts } from '@backhaul/jobs/cleanup';
import { type ObjectStore, createObjectStore } from '@backhaul/object-store';
import type { JobContext } from '@backhaul/queue/job';
import { silentLogger } from '@backhaul/runtime';
import { sharedStack } from '@backhaul/testing';
import { fleetHealth } from './adapters/fleet-health.ts';
import { folderLocalFiles } from './adapters/folder-local-files.ts';
import { postgresCursors } from './adapters/postgres-cursors.ts';
import { postgresMessages, postgresStories, postgresTemporaryFiles } from './adapters/postgres-expiring-rows.ts';
import { postgresMaintenance } from './adapters/postgres-maintenance.ts';
import { postgresMediaOwners } from './adapters/postgres-media-owners.ts';
import { postgresPrekeys } from './adapters/postgres-prekeys.ts';
import { postgresSessions } from './adapters/postgres-sessions.ts';
import { postgresUserStatistics } from './adapters/postgres-user-statistics.ts';
import { s3Objects } from './adapters/s3-objects.ts';

/** A database of its own in the shared Postgres, the shared bucket, and a folder: what the cleanup works on in a test. */
export interface TestWorld {
  readonly database: Database;
  /** Another connection to it, on which a statement that waits longer for a lock fails (55P03). */
  impatient(lockTimeoutMs: number): Database;
  readonly store: ObjectStore;
  readonly folder: string;
  /** What a handler is given; its pace is quick. */
  context(options?: { signal?: AbortSignal; batchSize?: number }): JobContext<CleanupPorts>;
  /** Empties the chat's tables. */
  empty(): Promise<void>;
  /** Stores a small object under each key; returns the URLs that the database has for them. */
  put(...keys: string[]): Promise<string[]>;
  keys(prefix: string): Promise<string[]>;
  close(): Promise<void>;
}

/** Makes a world. */
export async function createTestWorld({ poolSize = 4 }: { poolSize?: number } = {}): Promise<TestWorld> {
  const { env } = sharedStack();
  const open = (url: string, poolSize: number) => createDatabase({ url, poolSize, statementTimeoutMs: 30_000, applicationName: 'test', log: silentLogger });
  const url = new URL(env['DATABASE_URL'] ?? '');
  const name = `test_cleanup_${randomUUID().replaceAll('-', '')}`;
  const server = open(url.href, 1);
  await server.query(`CREATE DATABASE ${name}`);
  url.pathname = name;
  const database = open(url.href, poolSize);
  const unhurried = open(url.href, 1);
  await migrate(database);
  await createChatTables(database);
  const store = createObjectStore({
    region: env['AWS_REGION'] ?? '',
    accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    bucket: env['AWS_S3_BUCKET'] ?? '',
    endpoint: env['AWS_ENDPOINT_URL_S3'],
  });
  const folder = await mkdtemp(join(tmpdir(), 'cleanup-'));
  const world: TestWorld = {
    database,
    impatient(lockTimeoutMs) {
      const impatient = new URL(url);
      impatient.searchParams.set('options', `-c lock_timeout=${lockTimeoutMs}`);
      return open(impatient.href, 2);
    },
    store,
    folder,
    context({ signal = new AbortController().signal, batchSize = 500 } = {}) {
      const ports: CleanupPorts = {
        pace: { batchSize, pauseMs: 1, budgetMs: 50_000 },
        stories: postgresStories(database),
        messages: postgresMessages(database),
        temporaryFiles: postgresTemporaryFiles(database),
        sessions: postgresSessions(database),
        prekeys: postgresPrekeys(database),
        mediaOwners: postgresMediaOwners(database),
        statistics: postgresUserStatistics(database),
        cursors: postgresCursors(database),
        objects: s3Objects(store),
        localFiles: folderLocalFiles(folder),
        maintenance: postgresMaintenance({ database, unhurried, retentionMs: 168 * 3_600_000 }),
        health: fleetHealth(database, { postgres: () => database.ping(), objectStore: () => store.ping() }),
      };
      return { ports, signal, log: silentLogger, messageId: 'cleanup-test', attempt: 1, lastTry: false, progress: () => undefined };
    },
    async empty() {
      await database.query(
        'TRUNCATE messages, stories, user_sessions, user_prekeys, notifications, temporary_files, backhaul.cursors, backhaul.user_statistics',
      );
    },
    async put(...keys) {
      for (const key of keys) await store.put(key, Buffer.from('x'), { contentType: 'image/jpeg' });
      return keys.map((key) => store.publicUrl(key));
    },
    async keys(prefix) {
      const found: string[] = [];
      for await (const { key } of store.list(prefix)) found.push(key);
      return found;
    },
    async close() {
      await Promise.all([database.close(), unhurried.close(), store.close()]);
      await rm(folder, { recursive: true, force: true });
      await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await server.close();
    },
  };
  return world;
}

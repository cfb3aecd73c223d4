import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createChatTables, createDatabase, migrate } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { FLEET, type Fleet, type FleetOptions, type Stack, type StackOptions, repositoryRoot, startFleet, startStack } from '@backhaul/testing';

/** Stack and fleet on this machine, and what a person wants to know of them. */
export interface LocalFleet {
  readonly stack: Stack;
  readonly fleet: Fleet;
  /** Lines for a terminal: addresses, logs, and how to connect. */
  readonly summary: readonly string[];
  /** Fleet first, then stack. */
  stop(): Promise<void>;
}

/** The file that `make up` and `make dev` write for other clients. */
export const envFile = join(repositoryRoot, '.backhaul', 'env');

/** The services of the fleet that this checkout has. */
export const localServices = (): string[] => FLEET.filter((service) => existsSync(join(repositoryRoot, 'services', service, 'src', 'main.ts')));

/**
 * Starts stack and fleet with the chat app's tables, and writes the variables to `.backhaul/env`.
 *
 * @throws what `startStack` and `startFleet` throw; then nothing is left running
 */
export async function startLocalFleet(stackOptions: StackOptions, fleetOptions: Omit<FleetOptions, 'env'> = {}): Promise<LocalFleet> {
  const stack = await startStack({ env: process.env, ...stackOptions, onReady: createTables });
  try {
    const fleet = await startFleet({ services: localServices(), ...fleetOptions, env: stack.env });
    await stack.writeEnvFile(envFile);
    return {
      stack,
      fleet,
      summary: describe(stack, fleet),
      async stop() {
        // Its addresses lead nowhere from here on.
        await rm(envFile, { force: true });
        await fleet.stop();
        await stack.stop();
      },
    };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/** The fleet's schema and, as this is not production, the chat app's tables. The topology is the bridge's to declare. */
async function createTables(stack: Stack): Promise<void> {
  const url = stack.env['DATABASE_URL'] ?? '';
  const database = createDatabase({ url, poolSize: 1, statementTimeoutMs: 30_000, applicationName: 'backhaul-local', log: silentLogger });
  try {
    await migrate(database);
    await createChatTables(database);
  } finally {
    await database.close();
  }
}

function describe(stack: Stack, fleet: Fleet): string[] {
  const { env } = stack;
  const rows: [string, string][] = [
    ...fleet.processes.map((one): [string, string] => [one.name, `${one.url}/health`]),
    ['redis', env['REDIS_URL'] ?? ''],
    ['rabbitmq', env['RABBITMQ_URL'] ?? ''],
    ['postgres', env['DATABASE_URL'] ?? ''],
    ['s3', `${env['AWS_ENDPOINT_URL_S3']}/${env['AWS_S3_BUCKET']} (files: ${join(stack.dir, 's3')})`],
    ['mail', `smtp://${env['SMTP_HOST']}:${env['SMTP_PORT']} (files: ${join(stack.dir, 'mail')})`],
    ['push', env['FCM_BASE_URL'] ?? ''],
    ['sms', env['SMS_BASE_URL'] ?? ''],
    ['logs', stack.dir],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return [...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`), `  to connect: set -a; . '${envFile}'; set +a`];
}

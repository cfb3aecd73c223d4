import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fleetEnvironment } from './environment.ts';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'backhaul-env-'));
  await mkdir(join(root, '.backhaul'));
  await writeFile(join(root, '.backhaul', 'env'), "RABBITMQ_URL='amqp://stack'\nDATABASE_URL='postgres://stack'\n");
});
afterAll(() => rm(root, { recursive: true }));

test('the running stack’s variables are taken when the caller names no server', () => {
  expect(fleetEnvironment({ HOME: '/home/a', RABBITMQ_URL: '' }, root)).toMatchObject({
    HOME: '/home/a',
    RABBITMQ_URL: 'amqp://stack',
    DATABASE_URL: 'postgres://stack',
  });
});

test('a caller who names one server gets nothing of the stack: two fleets are never mixed', () => {
  const env = { DATABASE_URL: 'postgres://mine' };
  expect(fleetEnvironment(env, root)).toEqual(env);
});

test('without a running stack the environment is what it is', () => {
  expect(fleetEnvironment({ A: '1' }, join(root, 'elsewhere'))).toEqual({ A: '1' });
});

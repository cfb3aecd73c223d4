import { loadConfig } from '@backhaul/runtime';
import { expect, test } from 'vitest';
import { schedulerConfig } from './config.ts';

const DATABASE_URL = 'postgres://localhost/chat';

test('overrides are read by job name', () => {
  const config = loadConfig(schedulerConfig, { DATABASE_URL, SCHEDULER_OVERRIDES: 'cleanup.a=0 5 * * 6; cleanup.b = off;' });
  expect([...(config.SCHEDULER_OVERRIDES ?? [])]).toEqual([
    ['cleanup.a', '0 5 * * 6'],
    ['cleanup.b', 'off'],
  ]);
});

test.each(['cleanup.a', 'cleanup.a=', '=off', 'cleanup.a=off;cleanup.a=off'])('"%s" is refused by the name of its variable', (value) => {
  expect(() => loadConfig(schedulerConfig, { DATABASE_URL, SCHEDULER_OVERRIDES: value })).toThrow(/SCHEDULER_OVERRIDES: expected/);
});

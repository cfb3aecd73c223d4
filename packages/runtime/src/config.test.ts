import { expect, test } from 'vitest';
import { z } from 'zod';
import { InvalidConfig, loadConfig } from './config.ts';
import { bool, bytes, integer, milliseconds, port, secret, text, url } from './env-types.ts';

const schema = z.object({
  PORT: port(),
  WORKERS: integer({ min: 1, max: 8 }),
  TIMEOUT_MS: milliseconds(),
  MAX_BYTES: bytes({ min: 1 }),
  VERBOSE: bool(),
  NAME: text(),
  TOKEN: secret(),
  DATABASE_URL: url('postgres', 'postgresql'),
  MODE: z.enum(['fast', 'slow']),
});

const good = {
  PORT: '8080',
  WORKERS: '4',
  TIMEOUT_MS: '2000',
  MAX_BYTES: '2MiB',
  VERBOSE: '1',
  NAME: ' fleet ',
  TOKEN: ' keeps its spaces ',
  DATABASE_URL: 'postgres://u:p@h/d',
  MODE: 'fast',
};

function problems(env: Record<string, string | undefined>): InvalidConfig {
  try {
    loadConfig(schema, env);
  } catch (error) {
    if (error instanceof InvalidConfig) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

test('Values come out typed', () => {
  expect(loadConfig(schema, good)).toEqual({
    PORT: 8080,
    WORKERS: 4,
    TIMEOUT_MS: 2000,
    MAX_BYTES: 2 * 1024 * 1024,
    VERBOSE: true,
    NAME: 'fleet',
    TOKEN: ' keeps its spaces ',
    DATABASE_URL: 'postgres://u:p@h/d',
    MODE: 'fast',
  });
});

test('All problems are told at once, each by its variable and with what was expected', () => {
  const bad = { PORT: '70000', WORKERS: '9', TIMEOUT_MS: '0', MAX_BYTES: '2MB', VERBOSE: 'yes', NAME: '   ', DATABASE_URL: 'http://u:p@h', MODE: 'warp' };
  const failure = problems(bad);
  expect(failure.problems.map(({ variable }) => variable)).toEqual(Object.keys(schema.shape));
  for (const [variable, expected] of [
    ['PORT', 'a TCP port from 0 to 65535'],
    ['WORKERS', 'a whole number from 1 to 8'],
    ['TIMEOUT_MS', 'milliseconds from 1'],
    ['MAX_BYTES', '1048576 or 1MiB'],
    ['VERBOSE', 'true, false, 1 or 0'],
    ['TOKEN', 'required but not set'],
    ['DATABASE_URL', 'postgres:// or postgresql://'],
  ] as const) {
    expect(failure.message).toMatch(new RegExp(`${variable}: .*${expected.replaceAll('/', '\\/')}`));
  }
});

test('No value is ever part of the message', () => {
  const canary = 'canary-5f2b';
  const failure = problems(Object.fromEntries(Object.keys(schema.shape).map((name) => [name, canary])));
  expect(failure.problems.length).toBeGreaterThan(5);
  expect(failure.message).not.toContain(canary);
  expect(JSON.stringify(failure.problems)).not.toContain(canary);
});

test('A variable that is set to nothing counts as not set', () => {
  expect(problems({ ...good, TOKEN: '' }).problems).toEqual([{ variable: 'TOKEN', problem: 'is required but not set' }]);
  const optional = z.object({ LEVEL: text().default('info'), DIR: text().optional() });
  expect(loadConfig(optional, { LEVEL: '', DIR: '' })).toEqual({ LEVEL: 'info' });
});

test.each(['', ' ', '1e3', '0x10', '1.0', '1_000', '-1', '٣', 'NaN', 'Infinity', '99999999999999999999'])('%j is not taken for a whole number', (value) => {
  expect(problems({ ...good, WORKERS: value }).problems).toHaveLength(1);
});

test.each([
  ['0', 0],
  ['1024', 1024],
  ['1KiB', 1024],
  ['3 GiB', 3 * 1024 ** 3],
])('%s are %i bytes', (value, expected) => {
  expect(loadConfig(z.object({ SIZE: bytes() }), { SIZE: value }).SIZE).toBe(expected);
});

test.each(['1MB', '1.5MiB', '-1', '99999999GiB'])('%j is not taken for a size', (value) => {
  expect(() => loadConfig(z.object({ SIZE: bytes() }), { SIZE: value })).toThrow(InvalidConfig);
});

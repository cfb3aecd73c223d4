import { execFileSync } from 'node:child_process';
import { parseEnv } from 'node:util';
import { expect, test } from 'vitest';
import { shellEnvFile } from './stack-env.ts';

test('a shell and Node read the same values', () => {
  const env = { PLAIN: 'redis://127.0.0.1:1', SPACED: '/tmp/my projects/$HOME/`x`', KEY: '-----BEGIN-----\nabc\n-----END-----\n' };
  const file = shellEnvFile(env);
  const sourced = execFileSync('sh', ['-c', `${file}printf '%s|%s|%s' "$PLAIN" "$SPACED" "$KEY"`], { encoding: 'utf8' });
  const expected = [env.PLAIN, env.SPACED, String.raw`-----BEGIN-----\nabc\n-----END-----\n`];
  expect(sourced.split('|')).toEqual(expected);
  const { PLAIN, SPACED, KEY } = parseEnv(file);
  expect([PLAIN, SPACED, KEY]).toEqual(expected);
});

test('a shell reads a value with single quotes', () => {
  expect(execFileSync('sh', ['-c', `${shellEnvFile({ A: "it's 'quoted'" })}printf %s "$A"`], { encoding: 'utf8' })).toBe("it's 'quoted'");
});

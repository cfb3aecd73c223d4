import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual, parseEnv } from 'node:util';
import { expect, test } from 'vitest';
import { root, serviceConfigs, variables } from './service-configs.ts';

const text = readFileSync(join(root, '.env.example'), 'utf8');

/** The variables that the file names, set or commented out, each with the value it shows. */
function shown(): Map<string, string> {
  const lines = text.split('\n').flatMap((line) => /^(?:# )?([A-Z][A-Z0-9_]*=.*)$/.exec(line)?.[1] ?? []);
  return new Map(Object.entries(parseEnv(lines.join('\n'))).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

test('.env.example names every variable of every service and no other', async () => {
  const known = new Set((await serviceConfigs()).flatMap(variables));
  const named = [...shown().keys()];
  expect({
    'read by a service, not in .env.example': [...known].filter((name) => !named.includes(name)),
    'in .env.example, read by no service': named.filter((name) => !known.has(name)),
    'in .env.example more than once': named.filter((name) => (text.match(new RegExp(`^(?:# )?${name}=`, 'gm')) ?? []).length > 1),
  }).toEqual({ 'read by a service, not in .env.example': [], 'in .env.example, read by no service': [], 'in .env.example more than once': [] });
});

test('.env.example sets what has no default, so that a copy of it starts every service', async () => {
  const env = parseEnv(text);
  for (const { service, schema } of await serviceConfigs()) {
    expect({ service, issues: schema.safeParse(env).error?.issues }).toEqual({ service, issues: undefined });
  }
});

test('.env.example shows values that the services accept, and defaults where there are any', async () => {
  const { privateKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const values = shown();
  // Not even a worthless private key belongs into a repository.
  if (values.get('FIREBASE_PRIVATE_KEY')?.includes('...') === true) values.set('FIREBASE_PRIVATE_KEY', privateKey);
  const wrong: string[] = [];
  const set = parseEnv(text);
  for (const { service, schema } of await serviceConfigs()) {
    for (const [name, field] of Object.entries(schema.shape)) {
      const parsed = field.safeParse(values.get(name));
      const byDefault = field.safeParse(undefined);
      if (!parsed.success) wrong.push(`${service}: ${name}=${values.get(name) ?? ''} ${parsed.error.message}`);
      // Defaults below the machine's own temporary folder are shown as they are on most machines.
      const usual = typeof byDefault.data === 'string' ? byDefault.data.replace(tmpdir(), '/tmp') : byDefault.data;
      if (parsed.success && usual !== undefined && set[name] === undefined && !isDeepStrictEqual(parsed.data, usual)) {
        wrong.push(`${service}: ${name} is ${JSON.stringify(usual)} by default, .env.example shows ${JSON.stringify(parsed.data)}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

import { expect, test } from 'vitest';
import { startFleet } from './fleet.ts';

const toy = { env: { TOY: 'yes' }, services: ['toy'], entry: () => 'packages/testing/src/fixtures/toy-service.ts' };

test('a fleet waits until each service is ready and stops it by SIGTERM', async () => {
  const fleet = await startFleet({ ...toy, instances: { toy: 2 } });
  expect(fleet.processes.map((one) => one.name)).toEqual(['toy', 'toy-2']);
  expect(await fleet.stop()).toEqual({ toy: { code: 0, signal: null }, 'toy-2': { code: 0, signal: null } });
  expect(fleet.get('toy').logs()).toBe('the toy listens\nthe toy stops\n');
});

test('a service sees the given variables, its port, and nothing else of the starter', async () => {
  process.env['LEAK'] = 'yes';
  await using fleet = await startFleet({ ...toy, overrides: { toy: { EXTRA: '1' } } });
  const { url } = fleet.get('toy');
  const env = (await (await fetch(`${url}/env`)).json()) as Record<string, string>;
  expect(
    Object.keys(env)
      .filter((name) => !['PATH', 'HOME', 'TMPDIR'].includes(name))
      .toSorted(),
  ).toEqual(['EXTRA', 'PORT', 'TOY']);
  expect(url).toBe(`http://127.0.0.1:${env['PORT']}`);
});

test('a killed service tells its end and comes back on the same port', async () => {
  await using fleet = await startFleet(toy);
  const one = fleet.get('toy');
  const firstPid = one.pid;
  expect(await one.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  await one.restart();
  expect(one.pid).not.toBe(firstPid);
  expect((await fetch(`${one.url}/readyz`)).ok).toBe(true);
});

test('a service that fails to start is named, with the end of its log', async () => {
  await expect(startFleet({ ...toy, env: { TOY: 'crash' } })).rejects.toThrow(/toy ended with code 3 .*\n?.*the toy crashes as told/s);
});

import { expect, test } from 'vitest';
import { onDemand } from './on-demand.ts';

test('it is opened once, when first asked for, and closed if it was opened', async () => {
  let [opened, closed] = [0, 0];
  const resource = onDemand(() => {
    opened += 1;
    return { close: () => Promise.resolve((closed += 1)) };
  });
  await onDemand(() => Promise.reject(new Error('never asked for'))).close();
  expect(opened).toBe(0);
  expect(await resource.get()).toBe(await resource.get());
  await resource.close();
  expect({ opened, closed }).toEqual({ opened: 1, closed: 1 });
});

test('a failure is not remembered', async () => {
  let tries = 0;
  const resource = onDemand(() => {
    tries += 1;
    if (tries === 1) throw new Error('not yet');
    return { close: () => Promise.resolve() };
  });
  await expect(resource.get()).rejects.toThrow('not yet');
  await expect(resource.get()).resolves.toBeDefined();
});

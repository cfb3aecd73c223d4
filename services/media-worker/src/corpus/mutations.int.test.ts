import { sharedStack } from '@backhaul/testing';
import { expect, test } from 'vitest';
import { cutJpegs, mutatedRows, mutations } from './mutations.ts';
import { testRows } from './run-table.ts';

test('a seed always makes the same damage, and never none', () => {
  const bytes = Buffer.alloc(1_000, 'x');
  const damaged = mutations(200).map(({ apply }) => apply(bytes).toString('latin1'));
  expect(mutations(200).map(({ apply }) => apply(bytes).toString('latin1'))).toEqual(damaged);
  expect(damaged).not.toContain(bytes.toString('latin1'));
});

// The whole list is in the slow suite. One of them again: vitest run --project int mutations -t 'seed 17:'
testRows([...mutatedRows(120), ...cutJpegs()], sharedStack().env);

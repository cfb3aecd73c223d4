import { sharedStack } from '@backhaul/testing';
import { expect, test } from 'vitest';
import { testRows } from './run-table.ts';
import { CORPUS } from './table.ts';

test('the table has the files that were promised, each by its own name', () => {
  expect(CORPUS.length).toBeGreaterThanOrEqual(300);
  expect(new Set(CORPUS.map(({ kind, name }) => `${kind} ${name}`)).size).toBe(CORPUS.length);
});

testRows(CORPUS, sharedStack().env);

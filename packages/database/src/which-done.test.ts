import { expect, test } from 'vitest';
import { wereDone } from './which-done.ts';

test('all were made, some, or none', () => {
  expect(wereDone([{ done: null }], 2)).toEqual([true, true]);
  expect(wereDone([{ done: [3, 1] }], 3)).toEqual([true, false, true]);
  expect(wereDone([{ done: [] }], 1)).toEqual([false]);
});

test('a statement that says nothing is not taken for one that changed nothing', () => {
  expect(() => wereDone([], 1)).toThrow('did not say');
});

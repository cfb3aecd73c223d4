import { expect, test } from 'vitest';
import { RuleBook } from './rules.ts';

const facts = (key: string) => ({ operation: 'PutObject', bucket: 'b', key });

test('a rule applies to the requests that it matches, with * for any text', () => {
  const book = new RuleBook();
  book.add(1, [{ match: { key: 'a/*.jpg' }, action: { status: 503 } }]);
  expect(['a/1.jpg', 'a/b/2.jpg', 'a/1.png', 'xa/1.jpg', 'a/1xjpg'].map((key) => book.take(facts(key))?.status)).toEqual([
    503,
    503,
    undefined,
    undefined,
    undefined,
  ]);
});

test('a fact that a request does not have matches nothing', () => {
  const book = new RuleBook();
  book.add(1, [{ match: { token: '*' }, action: { hang: true } }]);
  expect(book.take(facts('a'))).toBeUndefined();
});

test('times, nth and every count the matching requests only', () => {
  const book = new RuleBook();
  book.add(1, [{ match: { key: 'twice' }, times: 2, action: { status: 1 } }]);
  book.add(2, [{ match: { key: 'second' }, nth: 2, action: { status: 2 } }]);
  book.add(3, [{ match: { key: 'third' }, every: 3, action: { status: 3 } }]);
  const run = (key: string) => Array.from({ length: 6 }, () => book.take(facts(key))?.status ?? 0);
  expect([run('twice'), run('second'), run('third')]).toEqual([
    [1, 1, 0, 0, 0, 0],
    [0, 2, 0, 0, 0, 0],
    [0, 0, 3, 0, 0, 3],
  ]);
});

test('the first rule wins, and removing it uncovers the next', () => {
  const book = new RuleBook();
  book.add(1, [{ action: { status: 1 } }]);
  book.add(2, [{ action: { status: 2 } }]);
  expect(book.take(facts('a'))?.status).toBe(1);
  book.remove(1);
  expect(book.take(facts('a'))?.status).toBe(2);
  book.remove();
  expect(book.take(facts('a'))).toBeUndefined();
});

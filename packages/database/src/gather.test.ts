import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DatabaseUnavailable } from './database.ts';
import { gather } from './gather.ts';

function gathering(refuses: (item: number) => boolean = () => false, max = 100) {
  const statements: number[][] = [];
  const ask = gather<number, string>({
    max,
    keyOf: String,
    run: (items) => {
      statements.push([...items]);
      return items.some(refuses) ? Promise.reject(new Error('refused')) : Promise.resolve(items.map((item) => `answer ${item}`));
    },
  });
  return { ask, statements };
}

test('what is asked in one turn is one statement, and each caller gets its own answer', async () => {
  const { ask, statements } = gathering();
  await expect(Promise.all([ask(3), ask(1), ask(2)])).resolves.toEqual(['answer 3', 'answer 1', 'answer 2']);
  expect(statements).toEqual([[1, 2, 3]]);
});

test('a statement never holds more than its bound', async () => {
  const { ask, statements } = gathering(() => false, 2);
  await Promise.all([1, 2, 3, 4, 5].map(ask));
  expect(statements.map((items) => items.length)).toEqual([2, 2, 1]);
});

test('the same key asked twice is two statements', async () => {
  const { ask, statements } = gathering();
  await Promise.all([ask(1), ask(1)]);
  expect(statements).toEqual([[1], [1]]);
});

test('when the database is away nobody is asked again', async () => {
  let calls = 0;
  const ask = gather<number, string>({
    max: 10,
    keyOf: String,
    run: () => {
      calls += 1;
      return Promise.reject(new DatabaseUnavailable(new Error('away')));
    },
  });
  const answers = await Promise.allSettled([ask(1), ask(2)]);
  expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(calls).toBe(1);
});

test('whatever items are refused, exactly those callers fail', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 30 }), fc.boolean()), { maxLength: 40 }),
      fc.integer({ min: 1, max: 10 }),
      async (asked, max) => {
        const bad = new Set(asked.filter(([, refused]) => refused).map(([item]) => item));
        const { ask } = gathering((item) => bad.has(item), max);
        const answers = await Promise.allSettled(asked.map(([item]) => ask(item)));
        answers.forEach((answer, index) => {
          const item = asked[index]?.[0] ?? -1;
          if (bad.has(item)) expect(answer.status).toBe('rejected');
          else expect(answer).toEqual({ status: 'fulfilled', value: `answer ${item}` });
        });
      },
    ),
  );
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DatabaseUnavailable } from './database.ts';
import { gather, together } from './gather.ts';

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

function asking(run: (items: readonly number[]) => Promise<readonly string[]>) {
  const statements: number[][] = [];
  const ask = together<number, string>({
    keyOf: String,
    run: (items) => {
      statements.push([...items]);
      return run(items);
    },
  });
  return { ask, statements };
}

test('what is asked together is one statement in the order of the keys, whatever order it is asked in, and is answered in that one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 40 }), async (items) => {
      const { ask, statements } = asking((asked) => Promise.resolve(asked.map((item) => `answer ${item}`)));
      await expect(ask(items)).resolves.toEqual(items.map((item) => `answer ${item}`));
      expect(statements).toEqual([items.toSorted((left, right) => (String(left) < String(right) ? -1 : 1))]);
    }),
  );
});

test('nothing that is asked together is no statement', async () => {
  const { ask, statements } = asking(() => Promise.reject(new Error('asked all the same')));
  await expect(ask([])).resolves.toEqual([]);
  expect(statements).toEqual([]);
});

test('when what is asked together is refused, it is refused to its caller, who alone may ask again', async () => {
  const refusal = new Error('refused');
  const { ask, statements } = asking((items) => (items.includes(2) ? Promise.reject(refusal) : Promise.resolve(items.map(String))));
  await expect(ask([3, 2, 1])).rejects.toBe(refusal);
  expect(statements).toEqual([[1, 2, 3]]);
  await expect(ask([3, 1])).resolves.toEqual(['3', '1']);
});

test('fewer answers than were asked for together are no answers', async () => {
  const { ask } = asking((items) => Promise.resolve(items.slice(1).map(String)));
  await expect(ask([1, 2, 3])).rejects.toThrow('3 items were asked about, 2 were answered');
});

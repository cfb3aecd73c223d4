import { expect, test } from 'vitest';
import { createPixelBudget } from './pixel-budget.ts';

const never = new AbortController().signal;

/** Takes, and notes the name when it is let in. */
function taker(budget: ReturnType<typeof createPixelBudget>) {
  const entered: string[] = [];
  const take = async (name: string, pixels: number, signal = never) => {
    const held = await budget.take(pixels, signal);
    entered.push(name);
    return held;
  };
  return { entered, take };
}

/** Lets everything happen that waits for nothing but its turn. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('pictures enter while there is room, and the next when one leaves', async () => {
  const { entered, take } = taker(createPixelBudget(100));
  const [first] = await Promise.all([take('a', 60), take('b', 40)]);
  const third = take('c', 50);
  await settle();
  expect(entered).toEqual(['a', 'b']);
  first[Symbol.dispose]();
  await third;
  expect(entered).toEqual(['a', 'b', 'c']);
});

test('a large one is not passed by small ones that come later', async () => {
  const { entered, take } = taker(createPixelBudget(100));
  const first = await take('small', 10);
  const large = take('large', 95);
  const late = take('late', 10);
  await settle();
  expect(entered).toEqual(['small']);
  first[Symbol.dispose]();
  const held = await large;
  await settle();
  expect(entered).toEqual(['small', 'large']);
  held[Symbol.dispose]();
  await late;
});

test('one that is larger than the whole budget runs, alone', async () => {
  const { entered, take } = taker(createPixelBudget(100));
  const huge = await take('huge', 5_000);
  const next = take('next', 1);
  await settle();
  expect(entered).toEqual(['huge']);
  huge[Symbol.dispose]();
  await next;
  expect(entered).toEqual(['huge', 'next']);
});

test('one that is cancelled while it waits leaves the queue and holds up nobody', async () => {
  const { entered, take } = taker(createPixelBudget(100));
  await take('first', 50);
  const cancel = new AbortController();
  const large = take('large', 80, cancel.signal);
  const small = take('small', 50);
  await settle();
  expect(entered).toEqual(['first']);
  cancel.abort(new Error('taken away'));
  await expect(large).rejects.toThrow('taken away');
  await small;
  expect(entered).toEqual(['first', 'small']);
  await expect(take('late', 1, cancel.signal)).rejects.toThrow('taken away');
});

test('what is given back twice counts once', async () => {
  const { entered, take } = taker(createPixelBudget(10));
  const first = await take('first', 10);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await take('second', 10);
  void take('third', 10);
  await settle();
  expect(entered).toEqual(['first', 'second']);
});

import { DatabaseUnavailable } from './database.ts';

/** How the questions of one turn become one statement. */
export interface GatherOptions<Item, Answer> {
  /** Items per statement at most. */
  readonly max: number;
  /** Two items with the same key never share a statement: Postgres would change their row only once, and answer both. */
  readonly keyOf: (item: Item) => string;
  /** Answers all items, in their order. */
  readonly run: (items: readonly Item[]) => Promise<readonly Answer[]>;
}

interface Waiting<Item, Answer> {
  readonly key: string;
  readonly item: Item;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/**
 * One statement for all that is asked in one turn of the event loop: callers
 * ask one by one and get their own answer, Postgres commits once.
 *
 * Items share the round trip and nothing else. When the statement is refused,
 * each is asked again alone, so that a value that Postgres will not take
 * fails its own caller only. When Postgres is away all of them are told so.
 */
export function gather<Item, Answer>({ max, keyOf, run }: GatherOptions<Item, Answer>): (item: Item) => Promise<Answer> {
  let waiting = new Map<string, Waiting<Item, Answer>>();
  let timer: NodeJS.Immediate | undefined;

  function flush(): void {
    clearImmediate(timer);
    timer = undefined;
    // In one order everywhere: two processes that hold the same rows would otherwise wait for each other.
    const batch = [...waiting.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
    waiting = new Map();
    void answer(batch);
  }

  async function answer(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await run(batch.map(({ item }) => item));
      if (answers.length !== batch.length) throw new Error(`${batch.length} items were asked about, ${answers.length} were answered`);
      batch.forEach(({ resolve }, index) => resolve(answers[index] as Answer));
    } catch (error) {
      if (batch.length === 1 || error instanceof DatabaseUnavailable) {
        for (const { reject } of batch) reject(error);
        return;
      }
      // One after the other: a bad item must not make its neighbours take all connections at once.
      for (const entry of batch) await answer([entry]);
    }
  }

  return (item) =>
    new Promise<Answer>((resolve, reject) => {
      const key = keyOf(item);
      if (waiting.has(key)) flush();
      waiting.set(key, { key, item, resolve, reject });
      if (waiting.size >= max) flush();
      else timer ??= setImmediate(flush);
    });
}

/**
 * One statement for all of these items, of which no two have the same key, for
 * a caller that has them together; the answers are in their order. When the
 * statement is refused, nothing is done for any of them.
 */
export function together<Item, Answer>({ keyOf, run }: Omit<GatherOptions<Item, Answer>, 'max'>): (items: readonly Item[]) => Promise<readonly Answer[]> {
  return async (items) => {
    if (items.length === 0) return [];
    const keys = items.map(keyOf);
    const order = keys.map((_key, index) => index);
    const inOrder = keys.every((key, index) => index === 0 || (keys[index - 1] ?? '') < key);
    if (!inOrder) order.sort((left, right) => ((keys[left] ?? '') < (keys[right] ?? '') ? -1 : 1));
    const answers = await run(inOrder ? items : order.map((index) => items[index] as Item));
    if (answers.length !== items.length) throw new Error(`${items.length} items were asked about, ${answers.length} were answered`);
    if (inOrder) return answers;
    const inTheirOrder: Answer[] = [];
    order.forEach((index, place) => (inTheirOrder[index] = answers[place] as Answer));
    return inTheirOrder;
  };
}

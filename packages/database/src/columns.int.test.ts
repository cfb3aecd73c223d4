import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { boolColumn, bytesColumn, floatColumn, intColumn, jsonColumn, jsonbColumn, textColumn, timeColumn, uuidColumn } from './columns.ts';
import { sqlState } from './database.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase({ migrated: false });
});
afterAll(() => world.close());

async function readBack(type: string, column: Buffer): Promise<unknown[]> {
  const { rows } = await world.database.query<{ value: unknown }>(`SELECT value FROM unnest($1::${type}[]) WITH ORDINALITY AS c(value, place) ORDER BY place`, [
    column,
  ]);
  return rows.map(({ value }) => value);
}

const columnOf = <Value>(value: fc.Arbitrary<Value>) => fc.array(fc.option(value), { maxLength: 50 });
/** Any text that Postgres takes. */
const text = fc.string({ unit: 'binary' }).map((value) => value.replaceAll('\0', ''));
const wholeTime = fc.date({ min: new Date('1900-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });

test.each<[string, fc.Arbitrary<unknown[]>, (values: never) => Buffer]>([
  ['text', columnOf(text), textColumn],
  ['uuid', columnOf(fc.uuid()), uuidColumn],
  ['int', columnOf(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })), intColumn],
  ['float8', columnOf(fc.double()), floatColumn],
  ['bool', columnOf(fc.boolean()), boolColumn],
  ['timestamptz', columnOf(wholeTime), timeColumn],
  ['bytea', columnOf(fc.uint8Array().map((bytes) => Buffer.from(bytes))), bytesColumn],
])('a column of %s comes out as it went in, absent values among them', async (type, values, column) => {
  await fc.assert(
    fc.asyncProperty(values, async (given) => {
      expect(await readBack(type, column(given as never))).toEqual(given);
    }),
    { numRuns: 50 },
  );
});

test.each([
  ['json', jsonColumn],
  ['jsonb', jsonbColumn],
])('a column of %s comes out as the values that its texts mean', async (type, column) => {
  await fc.assert(
    fc.asyncProperty(columnOf(fc.dictionary(text, text)), async (given) => {
      expect(await readBack(type, column(given.map((value) => (value === null ? null : JSON.stringify(value)))))).toEqual(
        given.map((value) => value && { ...value }),
      );
    }),
    { numRuns: 50 },
  );
});

test('half of a surrogate pair is replaced, and NUL is refused as a value, not as a broken message', async () => {
  expect(await readBack('text', textColumn(['a\ud800b']))).toEqual(['a\ufffdb']);
  const refused = await readBack('text', textColumn(['\0'])).catch((error: unknown) => error);
  expect(sqlState(refused)).toBe('22021');
  expect(await readBack('text', textColumn(['the connection is whole']))).toEqual(['the connection is whole']);
});

import { randomUUID } from 'node:crypto';
import { createChatTables, sqlState } from '@backhaul/database';
import { silentLogger } from '@backhaul/runtime';
import { type TestDatabase, testDatabase } from '@backhaul/testing/database';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createPgNotificationLog } from './pg-notification-log.ts';

let world: TestDatabase;
beforeAll(async () => {
  world = await testDatabase();
  await createChatTables(world.database);
});
afterAll(() => world.close());
beforeEach(() => world.database.query('TRUNCATE notifications'));

const record = (changes: object = {}) => ({
  messageId: randomUUID(),
  channel: 'push' as const,
  userId: randomUUID(),
  title: 'Ann',
  body: 'Hi',
  success: true,
  ...changes,
});
const rows = async () => (await world.database.query('SELECT user_id, title, body, success FROM notifications ORDER BY title')).rows;

test('Rows hold what was said, also what Postgres would not take, and one that is refused costs its neighbours nothing', async () => {
  const log = createPgNotificationLog(world.database, silentLogger);
  const odd = [
    record({ title: 'a "{\\}, NULL' }),
    record({ title: 'b', body: 'a\u0000b\ud800' }),
    record({ title: 'c', userId: 'nobody' }),
    record({ title: 'd', body: '' }),
  ];
  await Promise.all(odd.map((each) => log.record(each)));
  expect(await rows()).toMatchObject([
    { title: 'a "{\\}, NULL', body: 'Hi' },
    { title: 'b', body: 'ab\ufffd' },
    { title: 'd', body: '' },
  ]);
});

test('A failure becomes a success when the message is sent after all, and stays one', async () => {
  const log = createPgNotificationLog(world.database, silentLogger);
  const failed = record({ success: false });
  for (const success of [false, true, false]) await log.record({ ...failed, success });
  expect(await rows()).toMatchObject([{ success: true }]);
});

test.each([
  ['bigint', '12345678901'],
  ['varchar(12)', 'u-123456789'],
  ['char(6)', 'u-1234'],
  ['text', 'u-1'],
  ['uuid', randomUUID()],
])('The ids of people may be %s, and may become that while rows are written', async (type, userId) => {
  await world.database.query('TRUNCATE notifications; ALTER TABLE notifications ALTER COLUMN user_id TYPE integer USING NULL');
  const log = createPgNotificationLog(world.database, silentLogger);
  await log.record(record({ userId: '7' }));
  await world.database.query(`TRUNCATE notifications; ALTER TABLE notifications ALTER COLUMN user_id TYPE ${type} USING NULL`);
  // The one that finds the table changed may fail, of the old type and nothing else: its job is tried again.
  await log.record(record({ userId })).catch((error: unknown) => expect(sqlState(error)).toBe('42804'));
  await log.record(record({ userId, title: 'again' }));
  expect(await rows()).toContainEqual({ user_id: userId, title: 'again', body: 'Hi', success: true });
});

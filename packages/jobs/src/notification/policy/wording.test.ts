import { expect, test } from 'vitest';
import { summaryWording } from './wording.ts';

test('several messages are told in the language of the reader', () => {
  const body = (locale?: string) => summaryWording({ chat: 'Family', count: 5, locale }).body;
  expect([body(), body('de-AT'), body('es_MX'), body('xx')]).toEqual([
    '5 new messages in Family',
    '5 neue Nachrichten in Family',
    '5 mensajes nuevos en Family',
    '5 new messages in Family',
  ]);
});

test('what the device says of its language goes before what the event says of its user, if there are texts for it', () => {
  const body = (deviceLocale?: string, locale?: string) => summaryWording({ chat: 'Family', count: 5, deviceLocale, locale }).body;
  const [english, german, spanish] = ['5 new messages in Family', '5 neue Nachrichten in Family', '5 mensajes nuevos en Family'];
  expect([body('de'), body('es-MX', 'de'), body('de_CH', 'xx')]).toEqual([german, spanish, german]);
  expect([body('en-GB', 'de'), body('xx', 'de'), body('not a tag', 'es'), body('xx')]).toEqual([english, german, spanish, english]);
});

test('a chat without a name has none in the text, and a very long name is cut off', () => {
  expect(summaryWording({ chat: '', count: 2 })).toEqual({ title: '', body: '2 new messages' });
  const { title } = summaryWording({ chat: '👩‍👩‍👧'.repeat(100), count: 2 });
  expect([...title]).toHaveLength(80);
  expect(title.isWellFormed()).toBe(true);
});

import { expect, test } from 'vitest';
import { signatureMatches } from './twilio-signature.ts';

// The example of Twilio's own documentation and libraries.
const example = {
  authToken: '12345',
  url: 'https://mycompany.com/myapp.php?foo=1&bar=2',
  form: new URLSearchParams({ CallSid: 'CA1234567890ABCDE', Caller: '+12349013030', Digits: '1234', From: '+12349013030', To: '+18005551212' }),
};
const signature = '0/KCTR6DLpKmkAf8muzZqo1nDgQ=';

test('the example that Twilio publishes is genuine, whatever the order of its fields', () => {
  expect(signatureMatches(signature, example)).toBe(true);
  expect(signatureMatches(signature, { ...example, form: new URLSearchParams([...example.form].toReversed()) })).toBe(true);
});

test.each<[string, Partial<typeof example>]>([
  ['another token', { authToken: '12346' }],
  ['another query', { url: 'https://mycompany.com/myapp.php?foo=1&bar=3' }],
  ['another host', { url: 'https://mycompany.org/myapp.php?foo=1&bar=2' }],
  ['plain http', { url: 'http://mycompany.com/myapp.php?foo=1&bar=2' }],
  ['a field more', { form: new URLSearchParams([...example.form, ['Body', 'STOP']]) }],
  ['another value', { form: new URLSearchParams({ ...Object.fromEntries(example.form), Digits: '1235' }) }],
])('%s is not', (_name, changes) => {
  expect(signatureMatches(signature, { ...example, ...changes })).toBe(false);
});

test('no signature, or one of another length, is refused without an error', () => {
  for (const each of [undefined, '', 'x', signature.slice(0, -1), `${signature}${signature}`]) expect(signatureMatches(each, example)).toBe(false);
});

test.each(['https://mycompany.com:443/myapp.php?foo=1&bar=2', 'https://mycompany.com:8443/myapp.php?foo=1&bar=2'])(
  'the port, which Twilio signs or not, does not matter: %s',
  (url) => expect(signatureMatches(signature, { ...example, url })).toBe(true),
);

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAddress } from './address.ts';

test.each([
  ['ann@example.com', 'ann@example.com'],
  ['  ann@example.com ', 'ann@example.com'],
  ['Ann.B+news@EXAMPLE.com', 'Ann.B+news@example.com'],
  ['ann@bücher.example', 'ann@xn--bcher-kva.example'],
])('%s is read as %s', (input, expected) => {
  expect(parseAddress(input)).toBe(expected);
});

test.each([
  'ann',
  '@example.com',
  'ann@',
  'ann@localhost',
  'ann@example..com',
  '.ann@example.com',
  'ann@-example.com',
  'a@example.com,b@example.com',
  'a@example.com;b@example.com',
  'Ann <ann@example.com>',
  'ann@example.com\r\nBcc: eve@example.com',
  'ann\r\nRCPT TO:<eve@example.com>@example.com',
  '"quoted\nname"@example.com',
  'ann@[127.0.0.1]',
  'ann(comment)@example.com',
  'group: a@example.com, b@example.com;',
  `${'a'.repeat(65)}@example.com`,
  `ann@${'a'.repeat(250)}.com`,
  `${'a'.repeat(1_000_000)}@example.com`,
])('%o is refused', (input) => {
  expect(parseAddress(input)).toBeUndefined();
});

test('whatever is accepted is one address without line breaks, spaces or separators', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.emailAddress(), fc.string(), fc.string({ unit: fc.constantFrom('a', '@', '.', '\r', '\n', ',', '<', '>', ' ', '"', '\0') })),
      (input) => {
        const address = parseAddress(input);
        if (address !== undefined) expect(address).toMatch(/^[^\s,;<>"()@\0]+@[a-z0-9.-]+$/);
      },
    ),
  );
});

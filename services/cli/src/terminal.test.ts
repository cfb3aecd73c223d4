import { expect, test } from 'vitest';
import { createTerminal, duration, printable, table } from './terminal.ts';

test('a table aligns text to the left and numbers to the right', () => {
  expect(
    table(
      ['queue', 'jobs'],
      [
        ['media', 5],
        ['cleanup', 12],
      ],
    ),
  ).toBe('queue    jobs\nmedia       5\ncleanup    12');
  expect(table(['queue', 'jobs'], [])).toBe('queue  jobs\n(none)');
});

test('what came from outside cannot move the cursor', () => {
  expect(printable('a\u001B[2Jb\nc')).toBe('a\uFFFD[2Jb\uFFFDc');
});

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [12_340, '12.3 s'],
  [600_000, '10 min'],
  [3 * 3_600_000, '3 h'],
  [5 * 86_400_000, '5 d'],
])('%d ms is written %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test('progress takes the line’s place on a terminal and is a line elsewhere', () => {
  const written = (isTTY: boolean) => {
    let err = '';
    const terminal = createTerminal({ out: { write: () => undefined }, err: { isTTY, columns: 12, write: (text) => (err += text) } }, false);
    terminal.progress('one');
    terminal.progress('a line that is too long');
    terminal.progressEnd();
    return err;
  };
  expect(written(true)).toBe('\r\u001B[2Kone\r\u001B[2Ka line that\n');
  expect(written(false)).toBe('one\na line that is too long\n');
});

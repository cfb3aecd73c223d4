import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLogger, describeError } from './logger.ts';

test('An error is described with its code and its causes, five deep, and never endlessly', () => {
  const looped: Error & { code?: string } = new Error('outer');
  looped.code = 'E1';
  looped.cause = looped;
  let described = describeError(looped) as { cause?: unknown } | undefined;
  expect(described).toMatchObject({ name: 'Error', message: 'outer', code: 'E1' });
  let depth = 0;
  for (; described?.cause !== undefined; depth += 1) described = described.cause as { cause?: unknown };
  expect(depth).toBe(5);
});

test('A thrown thing that is no error is described too', () => {
  expect(describeError('just text')).toEqual({ name: 'NotAnError', message: 'just text' });
  expect(describeError(null).message).toBe('null');
  expect(describeError({ toString: null }).name).toBe('NotAnError');
  expect(describeError(Object.create(null)).name).toBe('NotAnError');
});

test('Long messages are cut', () => {
  expect(describeError(new Error('x'.repeat(100_000))).message.length).toBeLessThanOrEqual(2_000);
  expect(describeError('x'.repeat(100_000)).message.length).toBeLessThanOrEqual(500);
});

test('What is logged is in the files once the logger is closed; errors in both', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'logs-'));
  const log = createLogger({ service: 'test', level: 'error', dir });
  const child = log.child({ jobId: 'j1' });
  child.error('it broke', { error: new Error('why') });
  await log.close();
  for (const file of ['error.log', 'combined.log']) {
    const line = JSON.parse(await readFile(join(dir, file), 'utf8')) as Record<string, unknown>;
    expect(line).toMatchObject({ service: 'test', level: 'error', message: 'it broke', jobId: 'j1', error: { name: 'Error', message: 'why' } });
  }
  await rm(dir, { recursive: true });
});

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from './program.ts';

/** Runs the command without any server. */
async function run(args: readonly string[], env: Record<string, string> = {}) {
  let [out, err] = ['', ''];
  const streams = { out: { write: (text: string) => (out += text) }, err: { write: (text: string) => (err += text) } };
  const code = await runCommand(args, { env, streams, signal: new AbortController().signal });
  return { code, out, err };
}

test('without a command it shows what there is and exits 2', async () => {
  const { code, out, err } = await run([]);
  expect(code).toBe(2);
  expect(out).toBe('');
  expect(err).toContain('Usage: backhaul');
});

test('--help goes to standard output, names every exit code and exits 0', async () => {
  const { code, out } = await run(['--help']);
  expect(code).toBe(0);
  for (const exitCode of ['0  ok', '1  what', '2  wrong', '3  a server', '4  there is no']) expect(out).toContain(exitCode);
});

test.each([
  [['frobnicate'], 'frobnicate'],
  [['jobs'], 'message-id'],
  [['dlq', 'show', 'x'], 'whole number'],
  [['dlq', 'show', '0'], 'whole number'],
  [['dlq', 'ls', '--queue', 'nope'], 'media, notification, cleanup'],
  [['dlq', 'ls', '--limit', '0'], '1 to 1000'],
  [['dlq', 'retry'], '--all'],
  [['dlq', 'retry', '1', '--all'], '--all'],
  [['publish', 'media.image', '--follow-timeout', 'soon'], 'whole number'],
  [['publish', 'nope.nope'], 'media.image'],
  [['publish', 'media.image', '--file', '/nowhere/photo.jpg'], '/nowhere/photo.jpg'],
])('wrong arguments exit 2 and say what was expected: %j', async (args, expected) => {
  const { code, out, err } = await run(args);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain(expected);
});

test('a missing variable exits 2 and is named', async () => {
  const { code, err } = await run(['jobs', 'm1']);
  expect(code).toBe(2);
  expect(err).toContain('DATABASE_URL');
});

test('with --json an error is one JSON document on standard output, wherever it comes from', async () => {
  for (const args of [
    ['jobs', 'm1', '--json'],
    ['--json', 'jobs', 'm1'],
    ['jobs', '--json'],
    ['dlq', 'show', 'x', '--json'],
  ]) {
    const { code, out, err } = await run(args);
    expect(code).toBe(2);
    expect(err).toBe('');
    expect(JSON.parse(out)).toMatchObject({ error: expect.any(String) as string, message: expect.any(String) as string });
  }
});

test('a server that is not there exits 3', async () => {
  expect(await run(['jobs', 'm1'], { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' })).toMatchObject({ code: 3, out: '' });
});

test('templates list names every mail and what it needs, without any server', async () => {
  const { code, out } = await run(['templates', 'list']);
  expect(code).toBe(0);
  expect(out).toMatch(/^otp +code, validMinutes$/m);
  expect(JSON.parse((await run(['templates', 'list', '--json'])).out)).toMatchObject({
    templates: expect.arrayContaining([{ name: 'generic', example: expect.anything() as unknown }]) as unknown[],
  });
});

test('templates preview shows a mail in a language with a tenant’s look, and writes its HTML to a file', async () => {
  const MAIL_BRANDS = '{"default":{"name":"Chat"},"acme":{"name":"Acme"}}';
  const folder = await mkdtemp(join(tmpdir(), 'cli-'));
  try {
    const file = join(folder, 'welcome.html');
    const { code, out } = await run(['templates', 'preview', 'welcome', '--locale', 'de', '--tenant', 'acme', '--out', file], { MAIL_BRANDS });
    expect(code).toBe(0);
    expect(out).toMatch(/^Subject: Willkommen bei Acme\n\n/);
    expect(await readFile(file, 'utf8')).toMatch(/<html lang="de"[^]*Acme/);
  } finally {
    await rm(folder, { recursive: true });
  }
  expect(JSON.parse((await run(['templates', 'preview', 'otp', '--json'])).out)).toMatchObject({ locale: 'en', subject: '482 913 is your code', out: null });
  expect((await run(['templates', 'preview', 'missed-messages', '--time-zone', 'America/New_York'])).out).toMatch(/E[SD]T/);
});

test('a preview that cannot be made says why: no such template, a file that cannot be written, looks that are wrong', async () => {
  expect(await run(['templates', 'preview', 'none'])).toMatchObject({ code: 4, out: '', err: expect.stringContaining('weekly-summary') as string });
  expect(await run(['templates', 'preview', 'otp', '--out', '/nowhere/otp.html'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('/nowhere') as string,
  });
  expect(await run(['templates', 'preview', 'otp'], { MAIL_BRANDS: '{"default":{}}' })).toMatchObject({
    code: 2,
    err: expect.stringContaining('MAIL_BRANDS') as string,
  });
});

import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseEnv } from 'node:util';
import { events } from '@backhaul/events';
import { MEDIA_FAILURES, MEDIA_WARNINGS } from '@backhaul/jobs/media';
import { expect, test } from 'vitest';
import { root } from './service-configs.ts';

interface Document {
  /** From the root. */
  readonly file: string;
  readonly text: string;
  /** What stands in backticks within a line. */
  readonly code: readonly string[];
}

const documents: readonly Document[] = ['README.md', 'ARCHITECTURE.md', ...globSync('docs/**/*.md', { cwd: root }).toSorted()].map((file) => {
  const text = read(file);
  return { file, text, code: [...text.matchAll(/(?<!`)`([^`\n]+)`(?!`)/g)].map(([, code = '']) => code) };
});

/** Folders that commands make: not in a fresh checkout. */
const GENERATED = /^(?:\.backhaul|bench\/results|logs|node_modules)(?:\/|$)/;

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** The sources that run, without tests. */
function sources(): string[] {
  return globSync(['packages/*/src/**/*.ts', 'services/*/src/**/*.ts'], { cwd: root }).filter((file) => !file.endsWith('.test.ts'));
}

/** Every first group of the pattern's matches in the sources. */
function inSources(pattern: RegExp): Set<string> {
  return new Set(sources().flatMap((file) => [...read(file).matchAll(pattern)].map(([, found = '']) => found)));
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('there are documents', () => {
  expect(documents.map(({ file }) => file)).toEqual(expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'docs/events.md', 'docs/operations.md']));
});

test('every relative link leads to a file, and to a heading if it names one', () => {
  const broken = documents.flatMap(({ file, text }) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
      if (/^[a-z]+:/.test(link)) return [];
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : relative(root, join(root, dirname(file), path));
      if (!existsSync(join(root, target))) return [`${file}: ${link}`];
      return anchor === undefined || anchors(read(target)).has(anchor) ? [] : [`${file}: ${link} (no such heading)`];
    }),
  );
  expect(broken).toEqual([]);
});

test('every path of the repository in backticks exists', () => {
  const path =
    /^(?:(?:packages|services|tests|tools|bench|scripts|k8s|docs)(?:\/[\w.@*{},/-]*)?|\.ci\/run|[\w.-]+\.(?:json|yml|md)|Dockerfile|Makefile|LICENSE|\.env\.example)$/;
  const missing = documents.flatMap(({ file, code }) =>
    code
      .filter((each) => path.test(each) && !GENERATED.test(each))
      .filter((each) => (each.includes('*') ? globSync(each, { cwd: root }).length === 0 : !existsSync(join(root, each))))
      .map((each) => `${file}: ${each}`),
  );
  expect(missing).toEqual([]);
});

test('every metric that a document names is exported, and docs/operations.md names every metric', () => {
  const exported = new Set([...inSources(/(?:\.counter|\.gauge|\.seconds|perQueue)(?:<[^>]*>)?\(\s*'([a-z_]+)'/g)].map((name) => `backhaul_${name}`));
  expect(exported.size).toBeGreaterThan(10);
  const named = (text: string) => new Set([...text.matchAll(/\bbackhaul_[a-z_]+\b/g)].map(([name]) => name.replace(/_(?:bucket|sum|count)$/, '')));
  const unknown = documents.flatMap(({ file, text }) => [...named(text)].filter((name) => !exported.has(name)).map((name) => `${file}: ${name}`));
  const documented = named(read('docs/operations.md'));
  expect({ unknown, undocumented: [...exported].filter((name) => !documented.has(name)) }).toEqual({ unknown: [], undocumented: [] });
});

test('docs/events.md has every event, with its example', () => {
  const text = read('docs/events.md');
  for (const { routingKey, example } of events) {
    const section = text.split(`### ${routingKey}\n`)[1]?.split('\n### ')[0];
    const json = /```json\n([\s\S]*?)\n```/.exec(section ?? '')?.[1];
    expect({ routingKey, example: json === undefined ? undefined : (JSON.parse(json) as unknown) }).toEqual({ routingKey, example });
  }
});

test('docs/events.md has every field of every event', () => {
  const text = read('docs/events.md');
  const fields = new Set(events.flatMap(({ data }) => Object.keys((data as unknown as { shape: Record<string, unknown> }).shape)));
  expect([...fields].filter((field) => !text.includes(`\`${field}\``))).toEqual([]);
});

const permanentMediaFailures = Object.entries(MEDIA_FAILURES).flatMap(([code, kind]) => (kind === 'permanent' ? [code] : []));

test('docs/events.md has every reason for which a message or a job of any queue dies', () => {
  const text = read('docs/events.md');
  const poison = /export type PoisonReason =([^;]+);/.exec(read('packages/events/src/decode.ts'))?.[1] ?? '';
  const reasons = new Set([
    ...[...poison.matchAll(/'([a-z_]+)'/g)].map(([, reason = '']) => reason),
    ...inSources(/\breason: '([a-z]+_?[a-z]*)',\n/g),
    ...inSources(/'dead', reason: '([a-z_]+)'/g),
    ...inSources(/new PermanentFailure\(\s*'([a-z_]+)'/g),
    ...permanentMediaFailures,
  ]);
  expect([...reasons]).toEqual(
    expect.arrayContaining(['too_deep', 'id_conflict', 'delivery_limit', 'stalled', 'source_missing', 'delivery_unknown', 'postponed_too_long']),
  );
  expect([...reasons].filter((reason) => !text.includes(`\`${reason}\``))).toEqual([]);
});

test('docs/media.md has every code that a message row may carry, and its class', () => {
  const rows = new Set(
    [...read('docs/media.md').matchAll(/^\| `([a-z_]+)` \| (permanent|transient|degraded) \|/gm)].map(([, code, kind]) => `${code} ${kind}`),
  );
  const codes = [...Object.entries(MEDIA_FAILURES).map(([code, kind]) => `${code} ${kind}`), ...MEDIA_WARNINGS.map((code) => `${code} degraded`)];
  expect([...rows].toSorted()).toEqual(codes.toSorted());
});

test('every variable that a document names is in .env.example', () => {
  // Lines that are commented out count: they show the default.
  const lines = read('.env.example')
    .split('\n')
    .flatMap((line) => /^(?:# )?([A-Z][A-Z0-9_]*=.*)$/.exec(line)?.[1] ?? []);
  const known = new Set(Object.keys(parseEnv(lines.join('\n'))));
  const unknown = documents.flatMap(({ file, code }) =>
    code
      .flatMap((each) => [...each.matchAll(/(?<![\w$])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)/g)].map(([name]) => name))
      .filter((name) => !known.has(name) && name !== 'PRECONDITION_FAILED')
      .map((name) => `${file}: ${name}`),
  );
  expect(unknown).toEqual([]);
});

test('every make target and every command of backhaul that a document names is there', () => {
  const targets = new Set([...read('Makefile').matchAll(/^([a-z-]+):/gm)].map(([, target = '']) => target));
  const commands = new Set([...read('services/cli/src/program.ts').matchAll(/command\((?:program|dlq), '([a-z]+)/g)].map(([, command = '']) => command));
  const wrong = documents.flatMap(({ file, text, code }) => {
    const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = '']) => block.split('\n'));
    return [...blocks, ...code].flatMap((line) => {
      const [, target] = /^make ([a-z-]+)/.exec(line) ?? [];
      const [, command] = /^(?:npm run -s )?backhaul (?:-- )?([a-z]+)/.exec(line) ?? [];
      return (target !== undefined && !targets.has(target)) || (command !== undefined && !commands.has(command)) ? [`${file}: ${line}`] : [];
    });
  });
  expect(commands.has('publish')).toBe(true);
  expect(wrong).toEqual([]);
});

test('every fault that ARCHITECTURE.md calls proved is named in a test of the files beside it', () => {
  const rows = read('ARCHITECTURE.md')
    .split('\n')
    .filter((line) => /^\|.*\b[A-H]-\d\d\b/.test(line));
  expect(rows.length).toBeGreaterThan(15);
  const unproved = rows.flatMap((row) => {
    const paths = [...row.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path).filter((path) => /^(?:packages|services|tests)\//.test(path));
    const tests = paths.flatMap((path) => (path.endsWith('.ts') ? [path] : globSync(`${path}/**/*.test.ts`, { cwd: root }))).map(read);
    return [...row.matchAll(/\b[A-H]-\d\d\b/g)].map(([id]) => id).filter((id) => !tests.some((text) => text.includes(id)));
  });
  expect(unproved).toEqual([]);
});

import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Visitor, parseSync } from 'oxc-parser';

/** A module that a source file names, statically, dynamically, or to re-export it. */
export interface Import {
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
}

/** What the checks need to know of one TypeScript file. */
export interface Source {
  /** Relative to the root, with `/`. */
  readonly file: string;
  readonly lineCount: number;
  readonly imports: readonly Import[];
  /** The lines that touch `process.env` in any spelling. */
  readonly envLines: readonly number[];
  /** The lines with a comment that silences a tool without saying why: no ` -- reason` after it. */
  readonly unexplainedLines: readonly number[];
}

const skipped = new Set(['node_modules', 'coverage', 'results', 'fixtures']);

/** Every TypeScript file below the given folders of `root`, sorted; folders that do not exist are skipped. */
export function sourceFiles(root: string, folders: readonly string[]): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || skipped.has(entry.name)) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile() && entry.name.endsWith('.ts')) found.push(relative(root, path).replaceAll('\\', '/'));
    }
  };
  const present = new Set(readdirSync(root));
  for (const folder of folders) if (present.has(folder)) walk(join(root, folder));
  return found.toSorted();
}

/** Parses one file. A file that does not parse yields what could be read: tsc reports the rest. */
export function readSource(root: string, file: string): Source {
  const text = readFileSync(join(root, file), 'utf8');
  const { module, program, comments } = parseSync(file, text);
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length;

  const imports: Import[] = [];
  for (const { moduleRequest } of module.staticImports) imports.push({ specifier: moduleRequest.value, line: lineAt(moduleRequest.start) });
  for (const { entries } of module.staticExports) {
    const request = entries.find(({ moduleRequest }) => moduleRequest)?.moduleRequest;
    // `import { a } from 'x'; export { a }` is listed as an export of x as well: it is one import, already there.
    if (request && !imports.some(({ specifier }) => specifier === request.value)) imports.push({ specifier: request.value, line: lineAt(request.start) });
  }

  const envLines: number[] = [];
  const isProcess = (node: { type: string; name?: unknown } | null) => node?.type === 'Identifier' && node.name === 'process';
  new Visitor({
    ImportExpression({ source }) {
      if (source.type === 'Literal' && typeof source.value === 'string') imports.push({ specifier: source.value, line: lineAt(source.start) });
    },
    MemberExpression({ object, property, start }) {
      const key = property.type === 'Identifier' ? property.name : property.type === 'Literal' ? property.value : undefined;
      if (isProcess(object) && key === 'env') envLines.push(lineAt(start));
    },
    VariableDeclarator({ id, init, start }) {
      if (id.type === 'ObjectPattern' && isProcess(init) && text.slice(id.start, id.end).includes('env')) envLines.push(lineAt(start));
    },
    ImportDeclaration({ source, specifiers, start }) {
      if (!/^(node:)?process$/.test(source.value)) return;
      const named = specifiers.some((each) => each.type === 'ImportSpecifier' && text.slice(each.imported.start, each.imported.end) === 'env');
      if (named) envLines.push(lineAt(start));
    },
  }).visit(program);

  const unexplainedLines = comments
    .filter(({ value }) => /^\s*(?:(?:oxlint|eslint)-disable|@ts-(?:expect-error|ignore|nocheck))/.test(value) && !/ -- \S/.test(value))
    .map(({ start }) => lineAt(start));

  return { file, lineCount: text.split('\n').length - (text.endsWith('\n') ? 1 : 0), imports, envLines, unexplainedLines };
}

/** Whether the file is a test or a helper of one (`test-*.ts`), which may use what the product may not. */
export function isTest(file: string): boolean {
  return /(?:\.test|\/test-[^/]+)\.ts$/.test(file) || file.startsWith('tests/');
}

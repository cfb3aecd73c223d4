import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** How a program is run. */
export interface ShellOptions {
  readonly folder?: string;
  /** Also hand back what it prints. */
  readonly output?: boolean;
}

/**
 * One shell that runs all of them, as somebody's terminal would: a shell
 * started by this process, with its hundreds of megabytes, would cost the
 * baselines what only we need to answer for.
 */
let terminal: Terminal | undefined;

type Terminal = ChildProcessByStdio<Writable, Readable, null>;

/** It does one thing after the other: who comes meanwhile waits. */
let busy: Promise<unknown> = Promise.resolve();

/**
 * Runs a program as anybody would: from a shell, without guards. What it
 * writes to its standard output and to the descriptors that the worker gives
 * it besides (progress, samples) goes to /dev/null, unless it is asked for.
 *
 * @throws Error when it fails
 */
export function shell(program: string, args: readonly string[], options: ShellOptions = {}): Promise<string> {
  const turn = busy.then(() => type(program, args, options));
  busy = turn.catch(() => undefined);
  return turn;
}

async function type(program: string, args: readonly string[], { folder, output = false }: ShellOptions): Promise<string> {
  terminal ??= spawn('sh', [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const printed = output ? join(tmpdir(), `bench-printed-${process.pid}`) : '/dev/null';
  const { stdin, stdout } = terminal;
  const answer = new Promise<string>((resolve) => stdout.once('data', (line: Buffer) => resolve(line.toString().trim())));
  const command = [program, ...args].map(quoted).join(' ');
  stdin.write(`(cd ${quoted(folder ?? '.')} && exec ${command} </dev/null >${quoted(printed)} 3>/dev/null 4>/dev/null 5>/dev/null); echo $?\n`);
  const code = await answer;
  if (code !== '0') throw new Error(`${program} ended with code ${code}: ${args.join(' ')}`);
  if (!output) return '';
  const text = await readFile(printed, 'utf8');
  await rm(printed);
  return text;
}

/** Ends the shell: without it the process would wait for more commands for ever. */
export function closeShell(): void {
  terminal?.stdin.end();
  terminal = undefined;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

import { spawn } from 'node:child_process';

/** How a program is run. */
export interface ShellOptions {
  readonly folder?: string;
  /** Also hand back what it prints. */
  readonly output?: boolean;
}

/**
 * Runs a program as anybody would: from a shell, without guards. What it
 * writes to its standard output and to the descriptors that the worker gives
 * it besides (progress, samples) goes to /dev/null, unless it is asked for.
 *
 * @throws Error when it fails
 */
export async function shell(program: string, args: readonly string[], { folder, output = false }: ShellOptions = {}): Promise<string> {
  const child = spawn('sh', ['-c', 'exec "$0" "$@" 3>/dev/null 4>/dev/null 5>/dev/null', program, ...args], {
    cwd: folder,
    stdio: ['ignore', output ? 'pipe' : 'ignore', 'inherit'],
  });
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${program} ended with code ${code}: ${args.join(' ')}`);
  return text;
}

import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Figure, machineShape } from './figure.ts';

/**
 * Runs benchmarks one after the other and keeps their results:
 * `node bench/all.ts [bridge] [growth] [latency] [media] [notify]`, all of them without names.
 * The figures go to standard output, and with the machine's shape to
 * `bench/results/<name>.json`.
 */
const BENCHMARKS = ['bridge', 'growth', 'latency', 'media', 'notify'];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !BENCHMARKS.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no such benchmark: ${unknown.join(', ')}; there are ${BENCHMARKS.join(', ')}\n`);
  process.exit(2);
}

const results = fileURLToPath(new URL('results/', import.meta.url));
await mkdir(results, { recursive: true });
for (const name of asked.length > 0 ? asked : BENCHMARKS) {
  process.stderr.write(`benchmark ${name}\n`);
  const figures = await run(name);
  await writeFile(
    `${results}${name}.json`,
    `${JSON.stringify({ benchmark: name, at: new Date().toISOString(), machine: machineShape(), figures }, null, 2)}\n`,
  );
}

/** Runs one benchmark in a process of its own, so that none inherits another's heap. */
async function run(name: string): Promise<Figure[]> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(`${name}.ts`, import.meta.url))], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    process.stdout.write(chunk);
  });
  const code = await new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`benchmark ${name} ended with code ${code}`);
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Figure);
}

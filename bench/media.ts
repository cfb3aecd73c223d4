import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { repositoryRoot, startStack } from '@backhaul/testing';
import { createSamples } from './figure.ts';
import { makeInputs } from './media/inputs.ts';
import { closeShell } from './media/shell.ts';
import type { Throughput } from './media/throughput.ts';

/**
 * What a medium costs: the real handlers on the real adapters against the bare
 * work, in CPU (user and system, ours and our children's), because time on a
 * clock tells more of the neighbours than of us. The servers run in other
 * processes and do not count. `--quick` takes few samples; names of parts
 * (images, sounds, remux, transcode, noop, throughput) run only those.
 *
 * | figure | what is measured |
 * |---|---|
 * | media.image | CPU of sharp alone with one decode ÷ ours; 12 megapixels |
 * | media.image_vs_per_variant | CPU of a decode for each output at sharp's default effort ÷ ours |
 * | media.image_vs_per_variant_same_effort | the same at our effort |
 * | media.voice_5s, media.voice_60s | CPU of the same ffmpeg arguments from a shell ÷ ours |
 * | media.voice_5s_vs_spawned, media.voice_60s_vs_spawned | CPU of the same, started by a process as large as the worker ÷ ours |
 * | media.remux | CPU of encoding a clip that plays as it is ÷ ours, which copies it; 30 s of 720p |
 * | media.transcode | CPU of the same ffmpeg arguments from a shell ÷ ours; 10 s of 1080p |
 * | media.transcode_vs_three_runs | CPU of ffprobe and a run for each output ÷ ours |
 * | media.noop | CPU of a job that does nothing: queue, record, one S3 get and put |
 * | media.cpu_ms.* | what the ratios are made of, per job |
 * | media.throughput.<kind>.c<n> | jobs a second of one process with n jobs at once; videos of 3 s of 1080p, sounds of 5 s |
 * | media.peak_rss_mb.<kind>.c<n> | its resident memory at the most, its children's included |
 */
const args = process.argv.slice(2);
const quick = args.includes('--quick');
const parts = args.filter((word) => !word.startsWith('--'));
const wants = (part: string) => parts.length === 0 || parts.includes(part);

const SUBREAPER = fileURLToPath(new URL('media/subreaper.pl', import.meta.url));
const CPU_PER_JOB = fileURLToPath(new URL('media/cpu-per-job.ts', import.meta.url));
const THROUGHPUT = fileURLToPath(new URL('media/throughput.ts', import.meta.url));

const KINDS = ['image', 'video', 'audio'] as const;
const CONCURRENCIES = [1, 2, 4];
/** Jobs between two samples, at least as many as are at work at once. */
const JOBS_PER_PART = { image: 4, video: 2, audio: 8 } as const;
const PARTS = quick ? 1 : 5;

const inputs = join(repositoryRoot, '.backhaul/bench-media-inputs');
await makeInputs(inputs);
closeShell();
await using stack = await startStack({ dir: '.backhaul/bench-media', only: ['redis', 'postgres', 'fakes'] });

if (parts.length === 0 || parts.some((part) => part !== 'throughput')) {
  await node([CPU_PER_JOB, inputs, ...args], { under: ['perl', SUBREAPER], print: true });
}
if (wants('throughput')) {
  const samples = createSamples();
  for (const kind of KINDS) {
    for (const concurrency of CONCURRENCIES) {
      // A process of its own, so that none inherits another's memory.
      const output = await node([THROUGHPUT, inputs, kind, String(PARTS), String(Math.max(concurrency, JOBS_PER_PART[kind]))], { concurrency });
      const { jobsPerSecond, peakRssMb } = JSON.parse(output) as Throughput;
      const cell = `${kind}.c${concurrency}`;
      for (const value of jobsPerSecond) samples.add(`media.throughput.${cell}`, value);
      samples.add(`media.peak_rss_mb.${cell}`, peakRssMb);
      samples.print(`media.throughput.${cell}`, 'jobs/s');
      samples.print(`media.peak_rss_mb.${cell}`, 'MiB');
    }
  }
}

/** Runs a part in a process of its own, set up as the service is; resolves to what it prints. */
async function node(script: readonly string[], options: { under?: readonly string[]; print?: boolean; concurrency?: number }): Promise<string> {
  const { under = [], print = false, concurrency } = options;
  const [command = '', ...rest] = [...under, process.execPath, ...script];
  const child = spawn(command, rest, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...stack.env,
      PATH: process.env['PATH'],
      MEDIA_GRACE_MS: '0',
      MEDIA_TEMP_DIR: join(stack.dir, 'scratch'),
      LOG_LEVEL: 'warn',
      // As the service is told to have it; read by Node itself as it starts.
      UV_THREADPOOL_SIZE: String((concurrency ?? 2) + 2),
      ...(concurrency === undefined ? {} : { MEDIA_CONCURRENCY: String(concurrency) }),
    },
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
    if (print) process.stdout.write(chunk);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${script.join(' ')} ended with code ${code}`);
  return output;
}

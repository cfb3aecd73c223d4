import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSamples } from '../figure.ts';
import { benchFixedCost } from './fixed-cost.ts';
import { benchImages } from './images.ts';
import { benchSounds } from './sounds.ts';
import { closeShell } from './shell.ts';
import { benchRemux, benchTranscode } from './videos.ts';

/**
 * `node cpu-per-job.ts <folder of the inputs> [--quick] [parts]`, under
 * `subreaper.pl` and with a stack's variables: CPU seconds per job, ours and
 * the baselines'. Prints figures.
 */
const [inputs = '', ...rest] = process.argv.slice(2);
const quick = rest.includes('--quick');
const parts = rest.filter((word) => !word.startsWith('--'));
/** Enough for the median to hold still on a machine with neighbours. */
const rounds = quick ? 2 : 9;
/** Two rounds of the very same work differ by a tenth, and what is to be seen of sounds and of encoding is less. */
const soundRounds = quick ? 2 : 21;
const encodingRounds = quick ? 2 : 13;
const { env } = process;

const samples = createSamples();
const work = await mkdtemp(join(tmpdir(), 'bench-media-'));
try {
  const benchmarks = {
    images: () => benchImages(samples, rounds, env, inputs),
    sounds: () => benchSounds(samples, soundRounds, env, inputs, work),
    remux: () => benchRemux(samples, rounds, env, inputs, work),
    transcode: () => benchTranscode(samples, encodingRounds, env, inputs, work),
    noop: () => benchFixedCost(samples, rounds, env, quick ? 100 : 500),
  };
  for (const [part, run] of Object.entries(benchmarks)) {
    if (parts.length > 0 && !parts.includes(part)) continue;
    process.stderr.write(`${part}\n`);
    await run();
  }
} finally {
  closeShell();
  await rm(work, { recursive: true, force: true });
}

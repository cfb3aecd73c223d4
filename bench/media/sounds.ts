import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Samples } from '../figure.ts';
import { always, compare, contest } from './contest.ts';
import { assertSameBytes } from './equivalence.ts';
import { INPUTS } from './inputs.ts';
import { originalIn, recordRun, repeat, spawnHere } from './recorded-run.ts';
import { contender, runAll, startBenchWorker } from './worker.ts';

const NOTES = [
  { name: 'voice_5s', input: INPUTS.note5s, jobs: 8, warmUp: 150 },
  { name: 'voice_60s', input: INPUTS.note60s, jobs: 4, warmUp: 4 },
] as const;

/** `media.voice_5s`, `media.voice_60s`, and the same against a worker that starts its decoders itself */
export async function benchSounds(samples: Samples, rounds: number, env: NodeJS.ProcessEnv, inputs: string, work: string): Promise<void> {
  await using worker = await startBenchWorker(env);
  for (const { name, input, jobs, warmUp } of NOTES) {
    const note = join(inputs, input);
    const run = await recordRun(env, 'audio', note);
    const folder = await originalIn(work, note);
    const s3Key = await worker.upload(note);

    await repeat(run, folder);
    // A worker that has been at it for a while is measured, not its compiler: it takes 150 jobs until a job costs no less than the one before.
    await runAll(await worker.jobs('audio', s3Key, warmUp));
    for (const job of await worker.jobs('audio', s3Key, 2)) {
      await job.run();
      const { metadata, files } = await job.result();
      const extension = metadata.variants['audio']?.key.split('.').at(-1);
      assertSameBytes(name, files.get('audio'), await readFile(join(folder, `audio.${extension}`)));
    }

    const costs = await contest(samples, rounds, [
      always(`${name}.bare`, jobs, () => repeat(run, folder)),
      always(`${name}.spawned`, jobs, () => spawnHere(run, folder)),
      contender(worker, `${name}.ours`, jobs, 'audio', s3Key),
    ]);
    compare(samples, `media.${name}`, costs, `${name}.bare`, `${name}.ours`, 1.1);
    compare(samples, `media.${name}_vs_spawned`, costs, `${name}.spawned`, `${name}.ours`, 1.1);
  }
}

import { join } from 'node:path';
import type { MediaKind } from '@backhaul/jobs/media';
import { treeRssMb } from './cpu.ts';
import { INPUTS } from './inputs.ts';
import { startBenchWorker } from './worker.ts';

/** What one process did at one setting. */
export interface Throughput {
  /** Of consecutive parts of the run. */
  readonly jobsPerSecond: readonly number[];
  readonly peakRssMb: number;
}

/** The longest that a peak of memory may go unseen. */
const SAMPLE_MS = 100;

const LOADS: Readonly<Record<MediaKind, string>> = { image: INPUTS.photo, video: INPUTS.shortClip, audio: INPUTS.note5s };

/** `node throughput.ts <folder of the inputs> <kind> <parts> <jobs of a part>`, with a stack's variables: MEDIA_CONCURRENCY jobs at once. Prints one `Throughput`. */
const [inputs = '', kind = '', parts = '', jobsPerPart = ''] = process.argv.slice(2);
if (kind !== 'image' && kind !== 'video' && kind !== 'audio') throw new Error(`what is ${kind}?`);

await using worker = await startBenchWorker(process.env);
const { MEDIA_CONCURRENCY: concurrency } = worker.config;
const s3Key = await worker.upload(join(inputs, LOADS[kind]));
for (const job of await worker.jobs(kind, s3Key, 1)) await job.run();

const wanted = Number(parts) * Number(jobsPerPart);
// More than are counted, so that all places are taken until the last one that counts has ended.
const jobs = await worker.jobs(kind, s3Key, wanted + concurrency - 1);
const endedAt: number[] = [];
let peakRssMb = await treeRssMb();
let looking = false;
const timer = setInterval(() => {
  if (looking) return;
  looking = true;
  void treeRssMb().then((rssMb) => {
    peakRssMb = Math.max(peakRssMb, rssMb);
    looking = false;
  });
}, SAMPLE_MS);
const startedAt = performance.now();
await Promise.all(
  Array.from({ length: concurrency }, async () => {
    for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
      await job.run();
      endedAt.push(performance.now());
    }
  }),
);
clearInterval(timer);

const jobsPerSecond = Array.from({ length: Number(parts) }, (_, part) => {
  const from = endedAt[part * Number(jobsPerPart) - 1] ?? startedAt;
  const to = endedAt[(part + 1) * Number(jobsPerPart) - 1] ?? Number.NaN;
  return (Number(jobsPerPart) / (to - from)) * 1_000;
});
process.stdout.write(`${JSON.stringify({ jobsPerSecond, peakRssMb } satisfies Throughput)}\n`);

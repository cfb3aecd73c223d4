import { createDatabase, createHolds, createJobLedger } from '@backhaul/database';
import { media, mediaHandlers, mediaJobs } from '@backhaul/jobs/media';
import { createObjectStore, objectStoreOptions } from '@backhaul/object-store';
import { redisOptions, startWorker } from '@backhaul/queue';
import { runService } from '@backhaul/runtime';
import { checkToolchain, findToolchain } from './adapters/ffmpeg/toolchain.ts';
import { createScratchFolders } from './adapters/scratch-folders.ts';
import { mediaWorkerConfig } from './config.ts';
import { collectSeldom } from './heap.ts';
import { mediaPorts } from './ports.ts';
import { createLauncher } from './sandbox/launcher.ts';
import { REMEDIES, SANDBOX_LAYERS, SandboxIncomplete, missingLayers, testSandbox } from './sandbox/self-test.ts';

/** Twice the longest job's limit. */
const LONGEST_HOLD_MS = 2 * Math.max(...mediaJobs.map(({ timeoutMs }) => timeoutMs));

collectSeldom();

await runService('media-worker', { env: process.env, config: mediaWorkerConfig }, async ({ config, log, metrics, http, onStop }) => {
  const toolchain = await findToolchain({
    ffmpeg: config.FFMPEG_PATH,
    ffprobe: config.FFPROBE_PATH,
    heifConvert: config.HEIF_CONVERT_PATH,
    path: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
  });
  log.info('ffmpeg found', { ffmpeg: toolchain.ffmpeg, ffprobe: toolchain.ffprobe, version: toolchain.version, canTonemap: toolchain.canTonemap });
  if (toolchain.heifConvert === undefined) log.warn('no heif-convert: HEIC pictures, as iPhones take them, will be refused', { want: 'libheif-examples' });
  if (config.UV_THREADPOOL_SIZE < config.MEDIA_CONCURRENCY + 2) {
    log.warn('UV_THREADPOOL_SIZE is too small: decoding pictures will hold up files and name look-ups', {
      have: config.UV_THREADPOOL_SIZE,
      want: config.MEDIA_CONCURRENCY + 2,
    });
  }
  http.addCheck('ffmpeg', () => checkToolchain(toolchain));

  const scratch = onStop(await createScratchFolders(config.MEDIA_TEMP_DIR, { minFreeBytes: config.MEDIA_TEMP_MIN_FREE_BYTES }));
  const swept = await scratch.sweep();
  if (swept > 0) log.info('removed what dead workers left behind', { folders: swept });

  const { runChild } = onStop(createLauncher());
  const sandbox = await testSandbox(toolchain, { ffmpeg: toolchain.ffmpeg, root: config.MEDIA_TEMP_DIR });
  log.info('sandbox tried out', { ...sandbox });
  metrics.gauge('media_sandbox_layer', 'Whether decoders are held back from this: 1 held, 0 missing', ['layer'], (gauge) => {
    for (const layer of SANDBOX_LAYERS) gauge.set({ layer }, sandbox[layer] === 'held' ? 1 : 0);
  });
  const missing = missingLayers(sandbox);
  if (missing.length > 0 && config.MEDIA_SANDBOX === 'strict') throw new SandboxIncomplete(missing);
  for (const layer of missing) log.warn('hostile media would not be held back', { layer, remedy: REMEDIES[layer] });

  const database = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.DATABASE_POOL_SIZE,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-media-worker',
      log,
    }),
  );
  http.addCheck('postgres', () => database.ping());
  // Connections of its own: a hold that waited for one of the pool's could wait for the work that it holds up.
  const holdConnections = onStop(
    createDatabase({
      url: config.DATABASE_URL,
      poolSize: config.MEDIA_CONCURRENCY,
      statementTimeoutMs: config.DATABASE_STATEMENT_TIMEOUT_MS,
      applicationName: 'backhaul-media-worker-holds',
      log,
    }),
  );
  const holds = createHolds(holdConnections, { longestMs: LONGEST_HOLD_MS });
  const store = onStop(createObjectStore(objectStoreOptions(config)));
  http.addCheck('s3', () => store.ping());

  const ports = mediaPorts(config, { toolchain, runChild, scratch, database, holds, store });
  onStop(
    await startWorker({
      queue: media,
      jobs: mediaJobs,
      handlers: mediaHandlers,
      ports,
      redis: redisOptions(config),
      prefix: config.QUEUE_PREFIX,
      ledger: createJobLedger(database),
      concurrency: config.MEDIA_CONCURRENCY,
      config,
      log,
      metrics,
      http,
    }),
  );
});

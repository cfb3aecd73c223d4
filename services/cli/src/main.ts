#!/usr/bin/env node
import { join } from 'node:path';
import { fleetEnvironment } from './environment.ts';
import { runCommand } from './program.ts';

const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')));
process.once('SIGTERM', () => interrupted.abort(new Error('terminated')));
// `backhaul dlq ls | head`: whoever read enough is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runCommand(process.argv.slice(2), {
  env: fleetEnvironment(process.env, join(import.meta.dirname, '..', '..', '..')),
  streams: { out: process.stdout, err: process.stderr },
  signal: interrupted.signal,
});
// The answer is out; a connection that will not close must not keep the shell waiting.
setTimeout(() => process.exit(), 2_000).unref();

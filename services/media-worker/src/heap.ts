import { setFlagsFromString } from 'node:v8';

/**
 * Collects when the heap has grown, not when buffers outside of it come and go.
 *
 * Pixels and files pass through buffers outside the heap, tens of megabytes a
 * job. V8 by default counts 64 MiB of them, in use or not, as a reason to walk
 * the whole heap, 32 MB of code and libraries, to find a handful of buffers:
 * twice for each picture, 40 ms of its CPU. Here they count together with the
 * heap, which may grow to five times what is in use before it is collected.
 * What this costs is 80 to 150 MiB at the peak of a worker's memory.
 * Both flags are read at each collection, so they work after the start.
 */
export function collectSeldom(): void {
  setFlagsFromString('--heap-growing-percent=400');
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}

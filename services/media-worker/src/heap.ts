import { setFlagsFromString } from 'node:v8';

/**
 * Lets the heap grow to five times what is in use before it is collected.
 *
 * Pixels and files pass through buffers outside the heap, tens of megabytes a
 * job. V8 counts them as a reason to collect, and walks the whole heap, 32 MB
 * of code and libraries, to find a handful of buffers: twice for each picture,
 * 40 ms of its CPU. The heap itself hardly grows, so what this costs is some 130 MB at the most.
 * The flag is read at each collection, so it works after the start.
 */
export function collectSeldom(): void {
  setFlagsFromString('--heap-growing-percent=400');
}

const TELL_EVERY_MS = 10;

/** In a worker process: counts jobs, and tells the parent. Call the result once for each job that was done. Ends the process when the parent is gone. */
export function countDone(): () => void {
  let count = 0;
  let told = 0;
  setInterval(() => {
    if (count === told) return;
    told = count;
    process.send?.(count);
  }, TELL_EVERY_MS);
  process.once('disconnect', () => process.exit(0));
  return () => {
    count += 1;
  };
}

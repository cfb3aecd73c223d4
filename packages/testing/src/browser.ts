import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';

export { lookAtPage } from './look-at-page.ts';
export type { Look } from './look-at-page.ts';
export type { Browser, Page } from 'playwright-core';

/** Chromium under the names that Debian, other distributions and Google give it, and where macOS keeps it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const MAC_PATHS = ['Chromium', 'Google Chrome'].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);

const LAUNCH_TIMEOUT_MS = 60_000;

/**
 * The path of a Chromium. Where there is none, tests that need it are left out, but not unseen.
 *
 * @throws Error when CI=true: there it must be
 */
export function findBrowser(): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const found = [...NAMES.flatMap((name) => folders.map((folder) => join(folder, name))), ...MAC_PATHS].find(isExecutable);
  if (found !== undefined) return found;
  const problem = 'there is no chromium here: make setup brings it on Debian';
  if (process.env['CI'] === 'true') throw new Error(problem);
  process.stderr.write(`${problem}; tests that need it are left out\n`);
  return undefined;
}

/** Starts a Chromium that shows nothing and keeps nothing; close it when done. */
export function startBrowser(executablePath: string): Promise<Browser> {
  return chromium.launch({
    executablePath,
    headless: true,
    timeout: LAUNCH_TIMEOUT_MS,
    // Chromium's own sandbox refuses to run for root, as whom CI runs. The pages are ours, and nothing of the network reaches them.
    chromiumSandbox: process.getuid?.() !== 0,
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

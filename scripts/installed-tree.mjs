// node scripts/installed-tree.mjs <root>: exit code 0 when node_modules holds what package-lock.json asks for.
// Runs on any Node, before anything is installed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [root = '.'] = process.argv.slice(2);

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages ?? {};
  } catch {
    return {};
  }
}

const wanted = packagesOf('package-lock.json');
// npm's own record of what it has put there; absent after an interrupted installation.
const present = packagesOf('node_modules/.package-lock.json');

const lacking = Object.entries(wanted).filter(([path, { version, integrity, link, optional }]) => {
  if (!path.includes('node_modules/')) return false;
  const found = present[path];
  // Optional packages are those of other platforms.
  if (found === undefined) return optional !== true;
  return link === true ? found.link !== true : found.version !== version || (integrity !== undefined && found.integrity !== integrity);
});
process.exitCode = lacking.length === 0 && Object.keys(present).length > 0 ? 0 : 1;

import { type Finding, ok, problem } from './finding.ts';

/** The oldest that runs TypeScript sources without a flag; `engines` in package.json says the same. */
const NEEDED = [22, 18] as const;

/** Node's version. */
export function checkNode(version: string): Finding[] {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  const enough = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
  return [
    enough
      ? ok('node.version', version)
      : problem('node.version', `${version}, too old`, `install Node ${NEEDED.join('.')} or newer, or run make setup, which brings one`),
  ];
}

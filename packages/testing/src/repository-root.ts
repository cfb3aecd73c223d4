import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root folder of the repository. */
export const repositoryRoot = resolve(fileURLToPath(new URL('../../..', import.meta.url)));

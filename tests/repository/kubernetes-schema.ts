import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './service-configs.ts';

/** A Kubernetes object as it stands in a manifest. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

/**
 * What the API server's schemas would say of the manifests: wrong types,
 * missing fields and, which no validator here finds, unknown ones.
 *
 * The manifests become literals of kubernetes-models' types and tsc checks
 * them: it refuses a literal's excess properties at every depth.
 *
 * @returns tsc's complaints; empty when all is well
 */
export async function schemaProblems(manifests: readonly Manifest[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'manifests-'));
  try {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
    const lines = manifests.flatMap((manifest, index) => [
      `import type { I${manifest.kind} as Type${index} } from 'kubernetes-models/${manifest.apiVersion}';`,
      // The name goes into the variable's, so that a complaint says which manifest it is about.
      `export const ${manifest.kind}_${manifest.metadata.name.replaceAll(/\W/g, '_')}_${index}: Type${index} = ${JSON.stringify(manifest, null, 1)};`,
    ]);
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2024', '--module', 'nodenext', '--types', '', '--ignoreConfig'];
    return await new Promise((resolve, reject) => {
      execFile(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options, 'manifests.ts'], { cwd: folder }, (error, stdout, stderr) => {
        if (error !== null && stdout === '') reject(new Error(stderr, { cause: error }));
        else resolve(stdout);
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

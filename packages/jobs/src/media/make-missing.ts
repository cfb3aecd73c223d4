import type { JobContext } from '@backhaul/queue/job';
import type { Facts } from './facts.ts';
import type { MediaPorts } from './ports.ts';
import type { MadeFile, Original, Ready, Recipe } from './recipe.ts';

/** The facts about all outputs, the files of those that are not stored yet, and the sizes of those that are. */
export async function makeMissing<Fetched extends Original>(
  recipe: Recipe<Fetched>,
  known: Facts | undefined,
  keyOf: (fileName: string) => string,
  original: Ready<Fetched>,
  folder: string,
  context: JobContext<MediaPorts>,
): Promise<{ readonly facts: Facts; readonly files: readonly MadeFile[]; readonly sizes: Map<string, number> }> {
  const sizes = new Map<string, number>();
  const makeAll = async () => {
    const { files, ...rest } = await recipe.make(original, folder, context);
    return { facts: { ...rest, format: original.format, files: files.map(({ body: _body, ...file }) => file) }, files, sizes };
  };
  if (known === undefined) return makeAll();
  await Promise.all(
    known.files.map(async ({ name, extension }) => {
      const sizeBytes = await context.ports.derivatives.sizeOf(keyOf(`${name}.${extension}`), context.signal);
      if (sizeBytes !== undefined) sizes.set(name, sizeBytes);
    }),
  );
  const missing = new Set(known.files.map(({ name }) => name).filter((name) => !sizes.has(name)));
  if (missing.size === 0) return { facts: known, files: [], sizes };
  const files = await recipe.makeOnly(missing, known, original, folder, context);
  const asPromised = files.every(({ name, extension }) => known.files.some((promised) => promised.name === name && promised.extension === extension));
  // The formats were set differently when these facts were found: they name keys that this run cannot fill.
  return asPromised && files.length === missing.size ? { facts: known, files, sizes } : makeAll();
}

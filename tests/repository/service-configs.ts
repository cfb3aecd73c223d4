import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';

/** The repository's root. */
export const root = dirname(dirname(import.meta.dirname));

/** One process of the fleet and what it reads from its environment. */
export interface ServiceConfig {
  /** The folder's name, `media-worker`. */
  readonly service: string;
  readonly schema: z.ZodObject<Record<string, z.ZodType>>;
}

/** The processes that run all the time; the command line is run by people. */
export const services: readonly string[] = readdirSync(join(root, 'services')).filter(
  (name) => name !== 'cli' && existsSync(join(root, 'services', name, 'package.json')),
);

/**
 * The config schemas of all services, by import of `services/<name>/src/config.ts`,
 * which exports `<nameInCamelCase>Config`.
 *
 * @throws when a service has no such file or export: it would be forgotten by every check of the environment
 */
export async function serviceConfigs(): Promise<ServiceConfig[]> {
  return Promise.all(
    services.map(async (service) => {
      const file = join(root, 'services', service, 'src', 'config.ts');
      const name = `${service.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())}Config`;
      if (!existsSync(file)) throw new Error(`services/${service} has no src/config.ts: write one that exports ${name}, a zod object keyed by variable names`);
      const module = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
      const schema = module[name];
      if (!(schema instanceof z.ZodObject)) throw new Error(`services/${service}/src/config.ts must export ${name}, a zod object keyed by variable names`);
      return { service, schema };
    }),
  );
}

/** The names of all variables that a schema reads. */
export function variables({ schema }: ServiceConfig): string[] {
  return Object.keys(schema.shape);
}

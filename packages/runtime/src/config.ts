import type { z } from 'zod';

/** One variable that could not be used. */
export interface ConfigProblem {
  readonly variable: string;
  readonly problem: string;
}

/** Thrown by `loadConfig`: the operator must mend the environment. Lists every problem at once and never a value. */
export class InvalidConfig extends Error {
  readonly code = 'invalid_config';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(`The configuration cannot be used:\n${problems.map(({ variable, problem }) => `  ${variable}: ${problem}`).join('\n')}`);
    this.name = 'InvalidConfig';
    this.problems = problems;
  }
}

/**
 * Reads a service's configuration out of an environment, once, at the edge.
 *
 * A variable that is set to the empty string counts as not set: that is what
 * `NAME=` in an env file or a compose file means to the person who wrote it.
 *
 * @param schema a zod object whose keys are environment variable names
 * @throws {InvalidConfig} with all problems, by variable name
 */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, env: Readonly<Record<string, string | undefined>>): z.output<Schema> {
  const present = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = schema.safeParse(present);
  if (parsed.success) return parsed.data;
  throw new InvalidConfig(
    parsed.error.issues.map((issue) => {
      const variable = issue.path.join('.') || '(environment)';
      const missing = issue.code === 'invalid_type' && !(variable in present);
      return { variable, problem: missing ? 'is required but not set' : issue.message };
    }),
  );
}

/** What the command says to the script that called it. */
export const EXIT = {
  ok: 0,
  /** What was asked about failed: the job is dead, doctor found a problem, a retry was refused. */
  failed: 1,
  /** Wrong arguments, or a variable of the environment that is missing or wrong. */
  usage: 2,
  /** A server is not reachable. */
  unreachable: 3,
  /** There is no such message, dead letter or template. */
  notFound: 4,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

/** One of the codes above. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An end that is not ok, with what a person has to know. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;
  readonly code: string;

  constructor(exitCode: ExitCode, code: string, message: string) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
    this.code = code;
  }
}

/** Codes of errors that say that a server did not answer. */
const UNREACHABLE: ReadonlySet<unknown> = new Set([
  'database_unavailable',
  'queue_unavailable',
  'broker_unavailable',
  'store_unavailable',
  'deadline_exceeded',
]);

/** SQLSTATEs of a schema or table that is not there. */
const NO_SCHEMA: ReadonlySet<unknown> = new Set(['3F000', '42P01']);

/** What an error means for the caller. */
export function failureOf(error: unknown): { readonly exitCode: ExitCode; readonly code: string; readonly message: string } {
  if (error instanceof CommandFailure) return { exitCode: error.exitCode, code: error.code, message: error.message };
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'invalid_config')
    return { exitCode: EXIT.usage, code, message: `${message}\n.env.example explains each variable; while make up runs, they come from .backhaul/env` };
  if (UNREACHABLE.has(code)) return { exitCode: EXIT.unreachable, code: String(code), message };
  if (NO_SCHEMA.has(code))
    return { exitCode: EXIT.failed, code: 'no_schema', message: `${message}: the bridge and the scheduler create the schema when they start` };
  return { exitCode: EXIT.failed, code: typeof code === 'string' ? code : 'failed', message };
}

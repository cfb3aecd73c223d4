import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import winston from 'winston';

/** Fields that join log lines: ids and figures, never secrets or message contents. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger: one JSON object per line; the message is the event's name in a few words. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same logger with fields that every line carries. */
  child(fields: LogFields): Logger;
}

/** The logger that a process has one of. */
export interface RootLogger extends Logger {
  /** Writes out what the files do not have yet; nothing can be logged afterwards. */
  close(): Promise<void>;
}

/** How a process logs. */
export interface LoggerOptions {
  readonly service: string;
  readonly level: string;
  /** Where `error.log` and `combined.log` are written as well; nowhere if absent. */
  readonly dir?: string | undefined;
  /** Called once when nobody reads the standard output any more; from then on only the files are written. */
  readonly onUnread?: (error: Error) => void;
}

/** Makes the process's root logger: JSON lines on standard output, and to files where `dir` is given. */
export function createLogger(options: LoggerOptions): RootLogger {
  const files: winston.transport[] = [];
  if (options.dir !== undefined) {
    mkdirSync(options.dir, { recursive: true });
    // Bounded, or a process that logs errors for a week fills the disk that the media work needs.
    const rotation = { maxsize: 50 * 1024 * 1024, maxFiles: 5, tailable: true };
    files.push(
      new winston.transports.File({ filename: join(options.dir, 'error.log'), level: 'error', ...rotation }),
      new winston.transports.File({ filename: join(options.dir, 'combined.log'), ...rotation }),
    );
  }
  const output = new winston.transports.Console();
  const root = winston.createLogger({
    level: options.level,
    format: winston.format.combine(winston.format.timestamp(), winston.format.json()),
    defaultMeta: { service: options.service, pid: process.pid },
    transports: [output, ...files],
  });
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: Error) => {
      if (output.silent) return;
      // Every further line would fail as well, and each failure would be a reason to log.
      output.silent = true;
      options.onUnread?.(error);
    });
  return {
    ...adapt(root),
    async close() {
      const written = files.map((file) => once(file, 'finish'));
      root.end();
      await Promise.all(written);
    },
  };
}

/** A logger that writes nothing, for tests and for callers that have none. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};

/**
 * What a log line or a stored history may keep of an error: name, code,
 * message, where it was thrown, and the same of its causes (at most five deep).
 */
export function describeError(error: unknown, depth = 0): { name: string; message: string; code?: string; stack?: string; cause?: unknown } {
  if (!(error instanceof Error)) return { name: 'NotAnError', message: asText(error).slice(0, 500) };
  const code = (error as { code?: unknown }).code;
  return {
    name: error.name,
    message: error.message.slice(0, 2000),
    ...(typeof code === 'string' || typeof code === 'number' ? { code: String(code) } : {}),
    ...(depth === 0 && error.stack !== undefined ? { stack: error.stack.split('\n').slice(1, 6).join('\n') } : {}),
    ...(error.cause !== undefined && depth < 5 ? { cause: describeError(error.cause, depth + 1) } : {}),
  };
}

/** `String` throws for an object without a usable toString, and what describes a failure must not fail. */
function asText(value: unknown): string {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** `bound`: what every line carries. A child is made for each run of each job, most of which log nothing: it must cost nothing. */
function adapt(logger: winston.Logger, bound: LogFields = {}): Logger {
  const write = (level: string) => (message: string, fields?: LogFields) => {
    if (!logger.isLevelEnabled(level)) return;
    // An Error has no enumerable fields: unadapted, `{ error }` would be logged as `{}` and the reason lost.
    const plain = Object.fromEntries(
      Object.entries({ ...bound, ...fields }).map(([key, value]) => [key, value instanceof Error ? describeError(value) : value]),
    );
    logger.log(level, message, plain);
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), child: (fields) => adapt(logger, { ...bound, ...fields }) };
}

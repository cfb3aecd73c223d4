import { EMAIL_STATUSES, type EmailStatus } from '@backhaul/database';
import { queues } from '@backhaul/jobs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { listDeadLetters, retryDeadLetters, showDeadLetter } from './commands/dead-letters.ts';
import { doctor } from './commands/doctor.ts';
import { listEmails } from './commands/emails.ts';
import { explainMessage, showJob, showQueues, showStatus } from './commands/look-up.ts';
import { publish } from './commands/publish.ts';
import { type PreviewOptions, listTemplates, previewTemplate } from './commands/templates.ts';
import { type Connections, createConnections } from './connections.ts';
import type { Environment } from './environment.ts';
import { EXIT, type ExitCode, failureOf } from './exit-codes.ts';
import { type Streams, type Terminal, createTerminal } from './terminal.ts';

/** What a run of the command needs of the outside. */
export interface RunOptions {
  readonly env: Environment;
  readonly streams: Streams;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  /** For tests: makes the connections. */
  readonly connect?: (env: Environment) => Connections;
}

type Action = (connections: Connections, terminal: Terminal) => Promise<ExitCode>;

const EXIT_CODES = `
Exit codes:
  0  ok
  1  what was asked about failed: the job is dead, doctor found a problem, a retry was refused
  2  wrong arguments, or a variable of the environment that is missing or wrong
  3  a server is not reachable
  4  there is no such message, dead letter or template

Servers are found by the variables of .env.example. When none is set, by those of the stack
that make up keeps running (.backhaul/env).`;

/**
 * Runs the command with its arguments (without node and script) and gives its
 * exit code. Standard output gets the answer and nothing else; with `--json`
 * also an error is one JSON document there.
 */
export async function runCommand(args: readonly string[], options: RunOptions): Promise<ExitCode> {
  const { env, streams, signal } = options;
  let chosen: Action | undefined;
  // Known before parsing: a wrong argument is told in the same form.
  const terminal = createTerminal(streams, args.includes('--json'));
  const program = createProgram({
    signal,
    writeOut: (text) => streams.out.write(text),
    writeErr: (text) => (terminal.json ? undefined : streams.err.write(text)),
    choose(action) {
      chosen = action;
    },
  });
  try {
    program.parse([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT.ok;
    if (terminal.json) tell(terminal, streams, { code: 'usage', message: error.message.replace(/^error: /, '') });
    return EXIT.usage;
  }
  if (chosen === undefined) return EXIT.usage;
  const connections = (options.connect ?? createConnections)(env);
  try {
    return await withAbort(signal, chosen(connections, terminal));
  } catch (error) {
    terminal.progressEnd();
    if (signal.aborted) return EXIT.interrupted;
    const failure = failureOf(error);
    tell(terminal, streams, failure);
    return failure.exitCode;
  } finally {
    await connections.close();
  }
}

function tell(terminal: Terminal, streams: Streams, { code, message }: { code: string; message: string }): void {
  if (terminal.json) terminal.answer({ error: code, message }, () => message);
  else streams.err.write(`backhaul: ${message}\n`);
}

/** Ends the wait when Ctrl-C comes; what is under way is cut off by closing the connections. */
async function withAbort<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason instanceof Error ? signal.reason : new Error('interrupted'));
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}

function createProgram({
  signal,
  writeOut,
  writeErr,
  choose,
}: {
  signal: AbortSignal;
  writeOut: (text: string) => void;
  writeErr: (text: string) => void;
  choose: (action: Action) => void;
}): Command {
  const queueOption = () => new Option('--queue <queue>', 'only this queue').choices(queues.map(({ name }) => name));
  const program = new Command('backhaul')
    .description('Publish events to the fleet, and look up what became of them.')
    .option('--json', 'answer with one JSON document')
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .configureOutput({ writeOut, writeErr })
    .showHelpAfterError('(backhaul --help shows what there is)');
  const command = (parent: Command, usage: string, description: string) =>
    parent.command(usage).description(description).option('--json', 'answer with one JSON document');

  command(program, 'publish <routing-key>', 'publish an event; with --file, upload a medium first')
    .option('--file <path>', 'media events: upload this file to uploads/<id>/<name>, and in a development database also write its message')
    .option('--data <json>', 'the payload; with --file what it leaves out is filled in')
    .option('--id <id>', 'the message id; the same id is the same message')
    .option('--example', "send the event's documented example, with --data over it")
    .option('--unchecked', 'send --data as it is, to see what becomes of a bad message')
    .option('--follow', 'show progress until the job has ended; the exit code is then the job’s')
    .option('--follow-timeout <seconds>', 'how long to follow', wholeNumber(1, 86_400), 600)
    .action(
      (
        routingKey: string,
        flags: { file?: string; data?: string; id?: string; example?: boolean; unchecked?: boolean; follow?: boolean; followTimeout: number },
      ) =>
        choose((connections, terminal) => {
          const { example = false, unchecked = false, follow = false, followTimeout, ...rest } = flags;
          const { file, data, id } = rest;
          return publish(connections, terminal, {
            routingKey,
            example,
            unchecked,
            follow,
            followTimeoutMs: followTimeout * 1_000,
            signal,
            ...(file === undefined ? {} : { file }),
            ...(data === undefined ? {} : { data }),
            ...(id === undefined ? {} : { id }),
          });
        }),
    );
  command(program, 'status', 'servers, open jobs and dead letters at a glance').action(() => choose(showStatus));
  command(program, 'queues', 'what each queue holds now').action(() => choose(showQueues));
  command(program, 'jobs <message-id>', 'the whole history of one message').action((messageId: string) =>
    choose((connections, terminal) => showJob(connections, terminal, messageId)),
  );
  command(program, 'explain <message-id>', 'why a message was sent, waits, or was not sent, step by step, without its contents')
    .option('--user <id>', 'only if it is this user’s')
    .action((messageId: string, flags: { user?: string }) => choose((connections, terminal) => explainMessage(connections, terminal, messageId, flags.user)));
  command(program, 'doctor', 'look at everything the fleet needs, and say how to mend what is wrong').action(() => choose(doctor));

  command(program, 'email-queue', 'every mail on record, the newest first, without its words')
    .addOption(new Option('--status <status>', 'only these').choices(EMAIL_STATUSES))
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000), 50)
    .option('--after <message-id>', 'those after this one: the next page')
    .action((flags: { status?: EmailStatus; limit: number; after?: string }) => choose((connections, terminal) => listEmails(connections, terminal, flags)));

  const templates = command(program, 'templates', 'the mails that there are');
  command(templates, 'list', 'list them, with what each needs').action(() => choose(listTemplates));
  command(templates, 'preview <name>', 'the mail of a template’s example: its subject and its text')
    .option('--locale <tag>', 'the reader’s language, such as es-MX', 'en')
    .option('--time-zone <zone>', 'the reader’s time zone, such as Europe/Berlin', 'UTC')
    .option('--tenant <name>', 'with this tenant’s look, of MAIL_BRANDS')
    .option('--out <file>', 'write its HTML there')
    .action((name: string, flags: Omit<PreviewOptions, 'name'>) =>
      choose((connections, terminal) => previewTemplate(connections, terminal, { ...flags, name })),
    );

  const dlq = command(program, 'dlq', 'dead letters: what could not be done');
  command(dlq, 'ls', 'list them, the newest first')
    .addOption(queueOption())
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000), 50)
    .option('--before <id>', 'those below this number: the next page', rowId)
    .option('--retried', 'also those that were tried again')
    .action((flags: { queue?: string; limit: number; before?: number; retried?: boolean }) =>
      choose((connections, terminal) => listDeadLetters(connections, terminal, { ...flags, retried: flags.retried === true })),
    );
  command(dlq, 'show', 'all that was kept of one')
    .argument('<id>', 'its number', rowId)
    .action((id: number) => choose((connections, terminal) => showDeadLetter(connections, terminal, id)));
  command(dlq, 'retry', 'try them again')
    .argument('[ids...]', 'their numbers', (id: string, before: number[] | undefined) => [...(before ?? []), rowId(id)])
    .option('--all', 'every open one')
    .option('--limit <count>', 'with --all: at most so many in this run, the newest first', wholeNumber(1, 1_000_000))
    .addOption(queueOption())
    .action((ids: number[], { all = false, ...flags }: { all?: boolean; queue?: string; limit?: number }) =>
      choose((connections, terminal) => retryDeadLetters(connections, terminal, { ids, all, signal, ...flags })),
    );
  return program;
}

/** A dead letter's number. */
const rowId = (value: string): number => wholeNumber(1, Number.MAX_SAFE_INTEGER)(value);

/** Reads a whole number, or says what was expected. */
function wholeNumber(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max))
      throw new InvalidArgumentError(
        max === Number.MAX_SAFE_INTEGER ? `expected a whole number from ${min} on` : `expected a whole number from ${min} to ${max}`,
      );
    return number;
  };
}

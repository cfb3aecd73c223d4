import { type DeadLetter, createDeadLetters } from '@backhaul/database';
import { ReplayRefused, type Replayed, bodyOf, createReplay } from '@backhaul/replay';
import { silentLogger } from '@backhaul/runtime';
import type { Connections } from '../connections.ts';
import { CommandFailure, EXIT, type ExitCode } from '../exit-codes.ts';
import { type Terminal, duration, printable, table } from '../terminal.ts';

/** `backhaul dlq ls`: the newest first. */
export async function listDeadLetters(
  connections: Connections,
  terminal: Terminal,
  options: { queue?: string; limit: number; before?: number; retried: boolean },
): Promise<ExitCode> {
  const { queue, limit, before, retried } = options;
  const letters = await createDeadLetters(connections.database()).list({
    limit,
    includeRetried: retried,
    ...(queue === undefined ? {} : { queue }),
    ...(before === undefined ? {} : { beforeId: before }),
  });
  const next = letters.length === limit ? (letters.at(-1)?.id ?? null) : null;
  terminal.answer({ deadLetters: letters.map(({ bodyHead: _bodyHead, payload: _payload, history: _history, ...letter }) => letter), next }, () =>
    [
      table(
        ['id', 'age', 'queue', 'event or job', 'reason', 'seen', 'message id', 'error'],
        letters.map((letter) => [
          letter.id,
          duration(Date.now() - letter.createdAt.getTime()),
          letter.queue,
          letter.name ?? letter.routingKey,
          letter.retriedAt === null ? letter.reason : `${letter.reason} (retried)`,
          letter.seen,
          letter.messageId,
          letter.error.message.slice(0, 80),
        ]),
      ),
      ...(next === null ? [] : [`more: backhaul dlq ls --before ${next}`]),
    ].join('\n'),
  );
  return EXIT.ok;
}

/** `backhaul dlq show <id>`: all that was kept. */
export async function showDeadLetter(connections: Connections, terminal: Terminal, id: number): Promise<ExitCode> {
  const letter = await createDeadLetters(connections.database()).find(id);
  if (letter === undefined) throw new CommandFailure(EXIT.notFound, 'not_found', `there is no dead letter ${id}`);
  const { bodyHead: _bodyHead, bodyBytes: _bodyBytes, ...rest } = letter;
  terminal.answer({ ...rest, body: bodyOf(letter) }, () => deadLetterText(letter));
  return EXIT.ok;
}

function deadLetterText(letter: DeadLetter): string {
  const body = bodyOf(letter);
  const fields: [string, string][] = [
    ['dead letter', String(letter.id)],
    ['message', letter.messageId],
    ['from', letter.source === 'bridge' ? 'the bridge: it never became a job' : `the worker, after ${letter.attempts} runs`],
    ['queue', letter.queue],
    [letter.name === null ? 'event' : 'job', letter.name ?? letter.routingKey ?? ''],
    ['reason', letter.reason],
    ['error', letter.error.message],
    ['created', `${letter.createdAt.toISOString()}, seen ${letter.seen} times`],
    ['retried', letter.retriedAt?.toISOString() ?? `no; to try again: backhaul dlq retry ${letter.id}`],
  ];
  const lines = fields.map(([name, value]) => `${name.padEnd(12)}${printable(value)}`);
  if (letter.payload !== null && letter.payload !== undefined) lines.push('', 'payload', JSON.stringify(letter.payload, null, 2));
  if (body !== null)
    lines.push('', `body (${body.encoding}, ${body.sizeBytes} bytes${body.complete ? '' : ', cut off here'})`, ...body.content.split('\n').map(printable));
  if (letter.history !== null)
    lines.push(
      '',
      table(
        ['time', 'event', 'detail'],
        letter.history.map(({ at, event, ...details }) => [at, event, JSON.stringify(details)]),
      ),
    );
  return lines.join('\n');
}

/** How many are looked for at once by `--all`. */
const PAGE = 100;

/** `backhaul dlq retry <id..>` or `--all`: tries them again. 1 when one was refused, 4 when one does not exist. */
export async function retryDeadLetters(
  connections: Connections,
  terminal: Terminal,
  options: { ids: readonly number[]; all: boolean; queue?: string; limit?: number; signal: AbortSignal },
): Promise<ExitCode> {
  if (options.all === options.ids.length > 0)
    throw new CommandFailure(EXIT.usage, 'usage', 'name the dead letters to try again, or use --all (with --queue for those of one queue)');
  const deadLetters = createDeadLetters(connections.database());
  const replay = createReplay({ deadLetters, producer: connections.producer, publisher: connections.publisher, log: silentLogger });
  const results: ({ id: number } & (Replayed | { state: 'refused'; code: string; message: string }))[] = [];
  const one = async (id: number) => {
    options.signal.throwIfAborted();
    try {
      results.push({ id, ...(await replay(id)) });
    } catch (error) {
      if (!(error instanceof ReplayRefused)) throw error;
      results.push({ id, state: 'refused', code: error.code, message: error.message });
    }
  };
  for (const id of options.ids) await one(id);
  if (options.all) {
    const { limit = Infinity } = options;
    let beforeId: number | undefined;
    // Downwards by number: those that die again meanwhile keep theirs or get a higher one, so this ends.
    for (;;) {
      const page = await deadLetters.list({
        limit: PAGE,
        ...(options.queue === undefined ? {} : { queue: options.queue }),
        ...(beforeId === undefined ? {} : { beforeId }),
      });
      for (const { id } of page) if (results.length < limit) await one(id);
      beforeId = page.at(-1)?.id;
      if (page.length < PAGE || results.length >= limit) break;
    }
  }
  terminal.answer({ results }, () =>
    table(
      ['id', 'state', 'detail'],
      results.map((result) => [
        result.id,
        result.state,
        result.state === 'refused'
          ? result.message
          : `${result.messageId}${result.state === 'queued' && !result.inRedis ? ': Redis is away, the reconciler adds it' : ''}`,
      ]),
    ),
  );
  const refused = results.filter((result) => result.state === 'refused');
  if (refused.length === 0) return EXIT.ok;
  return refused.every((result) => result.state === 'refused' && result.code === 'not_found') ? EXIT.notFound : EXIT.failed;
}

import { randomUUID } from 'node:crypto';
import { access, constants, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { events } from '@backhaul/events';
import { loadConfig, withDeadline } from '@backhaul/runtime';
import { type Connections, rabbitConfig } from '../connections.ts';
import { CommandFailure, EXIT, type ExitCode } from '../exit-codes.ts';
import { deathsOf, follow } from '../follow.ts';
import { exitCodeOf, findStory, stateOf, storyDocument, storyText } from '../message-story.ts';
import { type Terminal, printable } from '../terminal.ts';
import { insertMessage } from './development-message.ts';

/** What `backhaul publish` was told. */
export interface PublishOptions {
  readonly routingKey: string;
  /** The medium to upload; media events only. */
  readonly file?: string;
  /** The payload as JSON text; what `--file` sets may be left out. */
  readonly data?: string;
  /** The message id; a new one if not given. */
  readonly id?: string;
  /** Send the event's documented example. */
  readonly example: boolean;
  /** Send the body as it is, whatever it is. */
  readonly unchecked: boolean;
  readonly follow: boolean;
  readonly followTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** An event that is ready to go. */
export interface PreparedEvent {
  readonly routingKey: string;
  readonly messageId: string;
  readonly body: string;
  /** Where `--file` goes. */
  readonly upload?: { readonly file: string; readonly key: string; readonly contentType: string };
  /** The message row that has to be there. */
  readonly message?: { readonly id: string; readonly senderId: string; readonly content: string };
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.png': 'image/png',
  '.webp': 'image/webp',
  '.gif': 'image/gif',
  '.mp4': 'video/mp4',
  '.mov': 'video/quicktime',
  '.webm': 'video/webm',
  '.ogg': 'audio/ogg',
  '.opus': 'audio/ogg',
  '.mp3': 'audio/mpeg',
  '.m4a': 'audio/mp4',
  '.wav': 'audio/wav',
};

/**
 * Makes the event out of what was told, and checks it as the bridge will.
 *
 * @throws {CommandFailure} usage: the routing key is unknown, the data is no JSON object, or a field is missing or wrong
 */
export function prepareEvent(options: Pick<PublishOptions, 'routingKey' | 'file' | 'data' | 'id' | 'example' | 'unchecked'>): PreparedEvent {
  const { routingKey, file } = options;
  const messageId = options.id ?? randomUUID();
  if (options.unchecked) {
    if (options.data === undefined) throw usage('--unchecked sends --data as it is: give --data');
    return { routingKey, messageId, body: options.data };
  }
  const event = events.find((each) => each.routingKey === routingKey);
  if (event === undefined) throw usage(`there is no event ${printable(routingKey)}; there are ${events.map((each) => each.routingKey).join(', ')}`);
  if (file !== undefined && !routingKey.startsWith('media.')) throw usage(`--file is for media events, not for ${routingKey}`);
  if (options.example && file !== undefined) throw usage('--example and --file: only one of them, the example names a file of its own');

  const given = options.data === undefined ? {} : parseObject(options.data);
  const example: Record<string, unknown> = options.example ? { ...event.example } : {};
  let payload: Record<string, unknown> = { type: routingKey.slice(routingKey.indexOf('.') + 1), ...example, ...given };
  let upload: PreparedEvent['upload'];
  let message: PreparedEvent['message'];
  if (file !== undefined) {
    const name = basename(file);
    const rowId = typeof given['messageId'] === 'string' ? given['messageId'] : randomUUID();
    const senderId = typeof given['userId'] === 'string' ? given['userId'] : randomUUID();
    upload = { file, key: `uploads/${rowId}/${safeName(name)}`, contentType: CONTENT_TYPES[extname(name).toLowerCase()] ?? 'application/octet-stream' };
    payload = { userId: senderId, originalName: name, ...payload, messageId: rowId, s3Key: upload.key };
    if (given['messageId'] === undefined) message = { id: rowId, senderId, content: name };
  }
  const parsed = event.data.safeParse(payload);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(data)'}: ${issue.message}`);
    throw usage(
      `--data does not make a ${routingKey} (an example: ${JSON.stringify(event.example)}):\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
  }
  return { routingKey, messageId, body: JSON.stringify(payload), ...(upload === undefined ? {} : { upload }), ...(message === undefined ? {} : { message }) };
}

/** A file's name as part of a key: letters, digits, dot, dash and underscore, at most 100. */
export function safeName(name: string): string {
  const safe = name
    .normalize('NFKD')
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replaceAll(/^[.-]+|-+$/g, '')
    .slice(-100);
  return safe === '' ? 'file' : safe;
}

/** `backhaul publish`: uploads, publishes with a confirm, and follows the job to its end if asked to. */
export async function publish(connections: Connections, terminal: Terminal, options: PublishOptions): Promise<ExitCode> {
  const event = prepareEvent(options);
  if (event.upload !== undefined) {
    await assertReadable(event.upload.file);
    // The row first: without it the upload would be an orphan.
    if (event.message !== undefined) await insertMessage(connections.database(), event.message);
    await connections.store().put(event.upload.key, { file: event.upload.file }, { contentType: event.upload.contentType, signal: options.signal });
  }
  options.signal.throwIfAborted();
  const deathsBefore = options.follow && options.id !== undefined ? deathsOf(await findStory(connections, event.messageId)) : 0;
  try {
    await (await connections.publisher()).publish({ routingKey: event.routingKey, messageId: event.messageId, body: Buffer.from(event.body) });
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'unroutable') {
      throw new CommandFailure(
        EXIT.failed,
        'unroutable',
        `${error instanceof Error ? error.message : String(error)}: start the bridge once, it declares the queues`,
      );
    }
    // The broker answers a missing exchange by closing the channel, which looks like an outage.
    if (code === 'broker_unavailable' && (await lacksExchange(connections))) {
      throw new CommandFailure(EXIT.failed, 'no_exchange', 'the exchange does not exist: start the bridge once, it declares it, or set RABBITMQ_EXCHANGE');
    }
    throw error;
  }
  const published = { messageId: event.messageId, routingKey: event.routingKey, ...(event.upload === undefined ? {} : { s3Key: event.upload.key }) };
  if (!options.follow) {
    terminal.answer(
      published,
      () => `published ${event.routingKey} as ${printable(event.messageId)}\nto look it up: backhaul jobs ${printable(event.messageId)}`,
    );
    return EXIT.ok;
  }
  const story = await follow(connections, terminal, event.messageId, { timeoutMs: options.followTimeoutMs, signal: options.signal, deathsBefore });
  terminal.answer({ ...published, ...storyDocument(story) }, () => storyText(story));
  return exitCodeOf(stateOf(story));
}

async function lacksExchange(connections: Connections): Promise<boolean> {
  const channel = await (await connections.broker()).openChannel();
  channel.on('error', () => undefined);
  try {
    await withDeadline('looking for the exchange', 5_000, channel.checkExchange(loadConfig(rabbitConfig, connections.env).RABBITMQ_EXCHANGE));
    return false;
  } catch (error) {
    return error instanceof Error && error.message.includes('404');
  }
}

async function assertReadable(file: string): Promise<void> {
  try {
    if (!(await stat(file)).isFile()) throw usage(`--file ${file}: it is not a file`);
    await access(file, constants.R_OK);
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw usage(`--file ${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : 'it cannot be read'}`);
  }
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usage(`--data is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw usage('--data: expected a JSON object');
  return value as Record<string, unknown>;
}

function usage(message: string): CommandFailure {
  return new CommandFailure(EXIT.usage, 'usage', message);
}

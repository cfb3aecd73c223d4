import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import type { EventDefinition } from '@backhaul/broker/event';

/** A message as it came from outside: nothing of it can be trusted yet. */
export interface RawMessage {
  readonly routingKey: string;
  readonly body: Buffer;
  readonly messageId: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Why a message can never become a job. Stable words: they are stored, counted and alerted on. */
export type PoisonReason =
  | 'too_large'
  | 'unsupported_encoding'
  | 'invalid_json'
  | 'too_deep'
  | 'forbidden_key'
  | 'forbidden_text'
  | 'envelope'
  | 'unknown_type'
  | 'schema';

/** A message that was understood. */
export interface DecodedEvent {
  readonly ok: true;
  readonly event: EventDefinition;
  /** AMQP message id, else CloudEvents id, else a hash of routing key and body. */
  readonly messageId: string;
  readonly payload: Readonly<Record<string, unknown>>;
  /** The payload as stored: known fields only. */
  readonly payloadJson: string;
  /** sha256 of routing key and payload; two publishers that order fields differently agree. */
  readonly bodyHash: Buffer;
  /** W3C trace context, if the publisher sent one. */
  readonly traceparent: string | null;
}

/** A message that never can be. */
export interface PoisonedMessage {
  readonly ok: false;
  readonly reason: PoisonReason;
  /** What was found and what was expected. Names fields, never quotes values. */
  readonly message: string;
  readonly messageId: string;
  readonly bodyHash: Buffer;
}

/** What a decoder accepts. */
export interface DecoderOptions {
  readonly events: readonly EventDefinition[];
  /** Larger bodies are refused before they are parsed. Default 256 KiB. */
  readonly maxBodyBytes?: number;
  /** Deeper nesting is refused before it is parsed. Default 32. */
  readonly maxDepth?: number;
}

/** Longer message ids are replaced by their hash. */
const MAX_ID_LENGTH = 200;
/** A field's name can be as long as the body, and the explanation is stored and logged. */
const MAX_EXPLANATION_LENGTH = 2_000;
const BYTE_ORDER_MARK = '\ufeff';
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);
/** What the text of a body must have for `inspectTexts` to refuse it: without escapes, keys are spelt out, and UTF-8 holds no half of a surrogate pair and JSON no NUL. */
const DOUBTFUL = /\\u|__proto__|constructor|prototype/;

class Poison extends Error {
  readonly reason: PoisonReason;

  constructor(reason: PoisonReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

/**
 * Makes the function that turns raw messages into events or says why it
 * cannot. It never throws, whatever the message is.
 *
 * The body is the payload itself, or a CloudEvents 1.0 structured event whose
 * `data` is the payload (https://github.com/cloudevents/spec, JSON format).
 */
export function createDecoder(options: DecoderOptions): (message: RawMessage) => DecodedEvent | PoisonedMessage {
  const maxBodyBytes = options.maxBodyBytes ?? 256 * 1024;
  const maxDepth = options.maxDepth ?? 32;
  const byKey = new Map(options.events.map((event) => [event.routingKey, event]));

  return (message) => {
    let cloudEventId: string | undefined;
    try {
      const event = byKey.get(message.routingKey);
      if (event === undefined)
        throw new Poison(
          'unknown_type',
          `no event has the routing key ${JSON.stringify(message.routingKey.slice(0, 100))}; known are ${[...byKey.keys()].join(', ')}`,
        );
      const body = parse(message, maxBodyBytes, maxDepth);
      cloudEventId = idOf(body);
      const data = unwrap(body);
      // The routing key already says the type; a body without one is complete.
      const typed = 'type' in data ? data : { ...data, type: event.routingKey.slice(event.routingKey.indexOf('.') + 1) };
      const parsed = event.data.safeParse(typed);
      if (!parsed.success) {
        const issues = parsed.error.issues.map((issue) => `${issue.path.join('.') || '(body)'}: ${issue.message}`);
        throw new Poison('schema', issues.slice(0, 10).join('; '));
      }
      const payload = parsed.data as Record<string, unknown>;
      const payloadJson = canonicalJson(payload);
      const traceparent = message.headers['traceparent'];
      return {
        ok: true,
        event,
        messageId: identify(message, cloudEventId),
        payload,
        payloadJson,
        bodyHash: sha256(`${message.routingKey}\n${payloadJson}`),
        traceparent: typeof traceparent === 'string' && TRACEPARENT.test(traceparent) ? traceparent : null,
      };
    } catch (error) {
      const reason = error instanceof Poison ? error.reason : 'schema';
      const explanation = (error instanceof Error ? error.message : String(error)).slice(0, MAX_EXPLANATION_LENGTH).toWellFormed();
      return { ok: false, reason, message: explanation, messageId: identify(message, cloudEventId), bodyHash: hashRaw(message) };
    }
  };
}

function parse(message: RawMessage, maxBodyBytes: number, maxDepth: number): unknown {
  if (message.body.length > maxBodyBytes) throw new Poison('too_large', `the body has ${message.body.length} bytes; at most ${maxBodyBytes} are accepted`);
  if (message.contentEncoding !== undefined && !/^(utf-?8|identity)$/i.test(message.contentEncoding)) {
    throw new Poison('unsupported_encoding', 'the body has a content encoding; send it plain, as UTF-8');
  }
  if (!isUtf8(message.body)) throw new Poison('invalid_json', 'the body is not UTF-8');
  const text = message.body.toString('utf8');
  // V8 parses a million nested arrays, but writing them again throws: look before parsing.
  if (depthOf(text, maxDepth) > maxDepth) throw new Poison('too_deep', `the body is nested more than ${maxDepth} levels deep`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Poison(
      'invalid_json',
      text.trim() === ''
        ? 'the body is empty'
        : text.startsWith(BYTE_ORDER_MARK)
          ? 'the body begins with a byte order mark; send it without'
          : 'the body is not JSON',
    );
  }
  inspect(value, DOUBTFUL.test(text));
  return value;
}

/** The deepest nesting outside of strings; stops counting above `limit`. */
function depthOf(text: string, limit: number): number {
  // Nearly no body has as many brackets as it may have levels, and reading it character by character is half the price of decoding it.
  if (fewer(text, '[', limit) && fewer(text, '{', limit)) return 0;
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (inString) {
      if (code === 0x5c) index += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > deepest) deepest = depth;
      if (deepest > limit) return deepest;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return deepest;
}

/** Whether `mark` occurs at most `limit / 2` times: two such marks then make no more than `limit` levels. */
function fewer(text: string, mark: string, limit: number): boolean {
  let at = -1;
  for (let found = 0; found <= limit / 2; found += 1) {
    at = text.indexOf(mark, at + 1);
    if (at === -1) return true;
  }
  return false;
}

/**
 * Refuses numbers that JSON cannot say again, keys that could reach a
 * prototype, and text that Postgres cannot store.
 *
 * @param texts whether there is reason to look at keys and texts; nearly never, and looking is most of the work
 */
function inspect(value: unknown, texts: boolean): void {
  if (typeof value === 'string') {
    if (texts) inspectText(value);
    return;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Poison('schema', 'a number is larger than any that can be kept');
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) inspect(item, texts);
    return;
  }
  for (const key in value) {
    if (texts) {
      if (FORBIDDEN_KEYS.has(key)) throw new Poison('forbidden_key', `the key ${key} is not accepted at any depth`);
      inspectText(key);
    }
    inspect((value as Record<string, unknown>)[key], texts);
  }
}

/** jsonb takes neither NUL nor half a surrogate pair: one such message would fail its whole batch. */
function inspectText(text: string): void {
  if (text.includes('\u0000') || !text.isWellFormed()) throw new Poison('forbidden_text', 'a text has a NUL character or half a surrogate pair');
}

/** The id of a CloudEvent; also of one that is poison for another reason, so that it can be found by it. */
function idOf(value: unknown): string | undefined {
  if (!isObject(value) || !('specversion' in value)) return undefined;
  return typeof value['id'] === 'string' && value['id'] !== '' ? value['id'] : undefined;
}

function unwrap(value: unknown): Record<string, unknown> {
  if (!isObject(value)) {
    throw new Poison('schema', `the body is ${value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`}; an object is expected`);
  }
  if (!('specversion' in value)) return value;
  if (value['specversion'] !== '1.0') throw new Poison('envelope', 'specversion: only CloudEvents 1.0 is understood');
  if (!isObject(value['data'])) throw new Poison('envelope', 'data: an object with the payload is expected');
  if (idOf(value) === undefined) throw new Poison('envelope', 'id: a CloudEvent needs one');
  return value['data'];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function identify(message: RawMessage, cloudEventId: string | undefined): string {
  const id = message.messageId || cloudEventId;
  // Some clients send an empty id for none: taken at its word, all of their messages would be one.
  if (id === undefined) return `sha256:${hashRaw(message).toString('hex')}`;
  return id.length <= MAX_ID_LENGTH && !id.includes('\u0000') && id.isWellFormed() ? id : `sha256:${hash('sha256', id)}`;
}

/**
 * JSON that does not depend on the order in which the publisher wrote its
 * fields: the schema gives the order at the top, sorting below it.
 */
function canonicalJson(payload: Readonly<Record<string, unknown>>): string {
  for (const key in payload) {
    if (isInOrder(payload[key])) continue;
    return JSON.stringify(Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, inOrder(value)])));
  }
  return JSON.stringify(payload);
}

/** Whether `inOrder` would change nothing. It nearly never would, and copying costs more than writing the JSON. */
function isInOrder(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isInOrder);
  if (!isObject(value)) return true;
  let previous = '';
  for (const key in value) {
    if (key < previous || !isInOrder(value[key])) return false;
    previous = key;
  }
  return true;
}

/** Not by a replacer of `JSON.stringify`, which makes it three times as slow. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (!isObject(value)) return value;
  const sorted: Record<string, unknown> = {};
  for (const key of Object.keys(value).toSorted()) sorted[key] = inOrder(value[key]);
  return sorted;
}

/** By way of text: a Buffer from `hash` is an allocation outside of the heap each time, which takes as long as the hashing and is work for the collector. */
function sha256(data: string | Buffer): Buffer {
  return Buffer.from(hash('sha256', data), 'hex');
}

function hashRaw(message: RawMessage): Buffer {
  return sha256(Buffer.concat([Buffer.from(`${message.routingKey}\n`), message.body]));
}

import { hash } from 'node:crypto';
import { defineEvent } from '@backhaul/broker/event';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type DecodedEvent, type PoisonReason, type PoisonedMessage, type RawMessage, createDecoder } from './decode.ts';
import { events } from './index.ts';

const decode = createDecoder({ events });
const IMAGE = {
  type: 'image',
  s3Key: 'uploads/1.jpg',
  userId: 'u1',
  messageId: '0d6f9b0e-6a63-4f0b-9f0e-3f4b8f0c2a11',
};
const PUSH = { type: 'push', userId: 'u1', title: 'Family', body: 'Hello' };

function raw(body: unknown, over: Partial<RawMessage> = {}): RawMessage {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return { routingKey: 'media.image', body: bytes, messageId: 'm1', contentEncoding: undefined, headers: {}, ...over };
}

function decoded(message: RawMessage): DecodedEvent {
  const result = decode(message);
  if (!result.ok) throw new Error(`${result.reason}: ${result.message}`);
  return result;
}

function poisoned(message: RawMessage): PoisonedMessage {
  const result = decode(message);
  if (result.ok) throw new Error(`decoded although it should be poison: ${result.payloadJson}`);
  return result;
}

describe('An event that is understood', () => {
  test.each(events.map((event) => [event.routingKey, event] as const))('%s: its own example decodes', (routingKey, event) => {
    const result = decoded(raw(event.example, { routingKey }));
    expect(result.event).toBe(event);
    expect(result.payload).toEqual(event.example);
    expect(JSON.parse(result.payloadJson)).toEqual(event.example);
  });

  test('may leave the type to the routing key', () => {
    const { type: _type, ...untyped } = IMAGE;
    expect(decoded(raw(untyped)).payload).toEqual(IMAGE);
  });

  test('loses the fields that nobody knows', () => {
    const result = decoded(raw({ ...IMAGE, tracking: 'x', isAdmin: true }));
    expect(result.payload).toEqual(IMAGE);
    expect(result.payloadJson).not.toContain('tracking');
  });

  test('may be wrapped in a CloudEvent, whose id counts when AMQP has none', () => {
    const envelope = { specversion: '1.0', id: 'ce-7', source: '/chat', type: 'media.image', data: IMAGE };
    expect(decoded(raw(envelope, { messageId: undefined }))).toMatchObject({ messageId: 'ce-7', payload: IMAGE });
    expect(decoded(raw(envelope, { messageId: 'amqp-1' })).messageId).toBe('amqp-1');
  });

  test('is the same body whether it comes in an envelope or not', () => {
    const envelope = { specversion: '1.0', id: 'm1', source: '/chat', type: 'media.image', data: IMAGE };
    expect(decoded(raw(envelope)).bodyHash).toEqual(decoded(raw(IMAGE)).bodyHash);
  });

  test('is identified by a hash of routing key and body when it has no id', () => {
    const body = Buffer.from(JSON.stringify(IMAGE));
    const expected = `sha256:${hash('sha256', Buffer.concat([Buffer.from('media.image\n'), body]))}`;
    expect(decoded(raw(body, { messageId: undefined })).messageId).toBe(expected);
  });

  test('has a body hash that does not depend on the order of fields, at any depth', () => {
    const one = { ...PUSH, data: { chatId: '42', kind: 'call' } };
    const other = { data: { kind: 'call', chatId: '42' }, body: 'Hello', title: 'Family', userId: 'u1', type: 'push' };
    const routingKey = 'notification.push';
    expect(decoded(raw(one, { routingKey })).bodyHash).toEqual(decoded(raw(other, { routingKey })).bodyHash);
    expect(decoded(raw({ ...one, title: 'Work' }, { routingKey })).bodyHash).not.toEqual(decoded(raw(one, { routingKey })).bodyHash);
  });

  test('has a body hash that does not depend on the order of fields inside of lists', () => {
    const list = defineEvent({
      routingKey: 'test.list',
      data: z.object({ type: z.string(), items: z.array(z.record(z.string(), z.number())) }),
      example: { type: 'list', items: [] },
    });
    const decodeList = createDecoder({ events: [list] });
    const hashOf = (text: string) => decodeList(raw(text, { routingKey: 'test.list' })).bodyHash;
    expect(hashOf('{"items":[{"a":1,"b":2}]}')).toEqual(hashOf('{"items":[{"b":2,"a":1}]}'));
  });

  test('keeps a W3C trace context, and nothing else that calls itself one', () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(decoded(raw(IMAGE, { headers: { traceparent } })).traceparent).toBe(traceparent);
    for (const wrong of [`${traceparent}\n`, 'x'.repeat(100_000), 42, null, { a: 1 }, Buffer.from(traceparent), '00-XYZ']) {
      expect(decoded(raw(IMAGE, { headers: { traceparent: wrong } })).traceparent).toBeNull();
    }
  });

  test('may have every other header in any shape (C-12)', () => {
    const headers = { 'x-death': Array.from({ length: 100_000 }, () => ({ count: 1e6 })), constructor: 1, toString: 'x' };
    expect(decoded(raw(IMAGE, { headers })).ok).toBe(true);
  });

  test('is read whatever duplicate keys it has: the last one counts', () => {
    expect(decoded(raw(`{"type":"video",${JSON.stringify(IMAGE).slice(1)}`)).payload).toEqual(IMAGE);
  });

  test.each(['utf-8', 'UTF8', 'identity'])('may say that its encoding is %s', (contentEncoding) => {
    expect(decoded(raw(IMAGE, { contentEncoding })).ok).toBe(true);
  });
});

describe('Message ids from outside (C-08)', () => {
  test.each([['a:b:c'], ['123456'], ['{tag}'], ['../../etc/passwd'], ['ünï-🎉'], ['__proto__'], [' '], ['a'.repeat(200)]])(
    '%j is kept as it is',
    (messageId) => {
      expect(decoded(raw(IMAGE, { messageId })).messageId).toBe(messageId);
    },
  );

  test.each([
    ['10 KB', 'x'.repeat(10_240)],
    ['NUL', 'a\u0000b'],
    ['half a surrogate pair', 'a\ud800'],
  ])('an id with %s is replaced by its hash, the same each time', (_what, messageId) => {
    const first = decoded(raw(IMAGE, { messageId })).messageId;
    expect(first).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(decoded(raw({ ...IMAGE, userId: 'u2' }, { messageId })).messageId).toBe(first);
  });

  test('an empty id is none', () => {
    expect(decoded(raw(IMAGE, { messageId: '' })).messageId).toMatch(/^sha256:/);
  });

  test('a message that never becomes a job is found by its id too', () => {
    expect(poisoned(raw('not json')).messageId).toBe('m1');
    expect(poisoned(raw('not json', { messageId: undefined })).messageId).toMatch(/^sha256:/);
    const envelope = { specversion: '1.0', id: 'ce-7', data: { type: 'image' } };
    expect(poisoned(raw(envelope, { messageId: undefined }))).toMatchObject({ reason: 'schema', messageId: 'ce-7' });
  });
});

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const image = (extra: string) => `${JSON.stringify(IMAGE).slice(0, -1)},${extra}}`;

describe('Poison is told apart', () => {
  const cases: [string, RawMessage, PoisonReason][] = [
    ['empty (C-01)', raw(''), 'invalid_json'],
    ['blank (C-01)', raw(' \n '), 'invalid_json'],
    ['not JSON (C-01)', raw('hello'), 'invalid_json'],
    ['truncated (C-01)', raw(JSON.stringify(IMAGE).slice(0, -5)), 'invalid_json'],
    ['NUL bytes (C-01)', raw(Buffer.alloc(64)), 'invalid_json'],
    ['a raw NUL inside of a text (C-01)', raw('{"userId":"a\u0000b"}'), 'invalid_json'],
    ['invalid UTF-8 (C-01)', raw(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])), 'invalid_json'],
    ['UTF-16 (C-01)', raw(Buffer.from(JSON.stringify(IMAGE), 'utf16le')), 'invalid_json'],
    ['UTF-16 with its mark (C-01)', raw(Buffer.from(`\ufeff${JSON.stringify(IMAGE)}`, 'utf16le')), 'invalid_json'],
    ['NaN and Infinity', raw(image('"a":NaN')), 'invalid_json'],
    ['an array (C-02)', raw([IMAGE]), 'schema'],
    ['null (C-02)', raw('null'), 'schema'],
    ['a number (C-02)', raw('42'), 'schema'],
    ['a text (C-02)', raw('"x"'), 'schema'],
    ['nothing in the object (C-02)', raw('{}'), 'schema'],
    ['a field of another type (C-02)', raw({ ...IMAGE, userId: 42 }), 'schema'],
    ['an empty id in the payload (C-08)', raw({ ...IMAGE, userId: '' }), 'schema'],
    ['an unknown routing key (C-03)', raw(IMAGE, { routingKey: 'media.hologram' }), 'unknown_type'],
    ['no routing key (C-03)', raw(IMAGE, { routingKey: '' }), 'unknown_type'],
    ['a routing key of a prototype (C-07)', raw(IMAGE, { routingKey: 'constructor' }), 'unknown_type'],
    ['a type that disagrees with the key (C-03)', raw({ ...IMAGE, type: 'video' }), 'schema'],
    ['a type that is no text', raw({ ...IMAGE, type: null }), 'schema'],
    ['a byte too many (C-04)', raw(Buffer.alloc(256 * 1024 + 1, ' ')), 'too_large'],
    ['16 MiB (C-04)', raw(Buffer.alloc(16 * 1024 * 1024, '[')), 'too_large'],
    ['33 levels (C-05)', raw(nested(33)), 'too_deep'],
    ['10,000 levels (C-05)', raw(nested(10_000)), 'too_deep'],
    ['10,000 open levels (C-05)', raw('{"a":'.repeat(10_000)), 'too_deep'],
    ['1e999 (C-06)', raw(image('"n":1e999')), 'schema'],
    ['an integer of 100,000 digits (C-06)', raw(image(`"n":${'9'.repeat(100_000)}`)), 'schema'],
    ['__proto__ (C-07)', raw(image('"__proto__":{"polluted":true}')), 'forbidden_key'],
    ['__proto__, escaped (C-07)', raw(image('"\\u005f_proto__":{"polluted":true}')), 'forbidden_key'],
    ['constructor.prototype (C-07)', raw(image('"constructor":{"prototype":{"polluted":true}}')), 'forbidden_key'],
    ['prototype, deep in a list (C-07)', raw(image('"a":[[{"b":[{"prototype":1}]}]]')), 'forbidden_key'],
    ['__proto__ in an envelope (C-07)', raw('{"specversion":"1.0","id":"1","data":{},"__proto__":{"x":1}}'), 'forbidden_key'],
    ['an escaped NUL', raw(image('"originalName":"a\\u0000b"')), 'forbidden_text'],
    ['half a surrogate pair', raw(image('"originalName":"\\ud83d"')), 'forbidden_text'],
    ['half a surrogate pair in a key', raw(image('"\\udc00":1')), 'forbidden_text'],
    ['gzip (C-11)', raw(Buffer.from([0x1f, 0x8b, 8, 0]), { contentEncoding: 'gzip' }), 'unsupported_encoding'],
    ['an unknown CloudEvents version (C-03)', raw({ specversion: '2.0', id: '1', data: IMAGE }), 'envelope'],
    ['an envelope without data', raw({ specversion: '1.0', id: '1' }), 'envelope'],
    ['an envelope whose data is text', raw({ specversion: '1.0', id: '1', data: JSON.stringify(IMAGE) }), 'envelope'],
    ['an envelope without an id', raw({ specversion: '1.0', data: IMAGE }), 'envelope'],
    ['an envelope whose id is a number', raw({ specversion: '1.0', id: 7, data: IMAGE }), 'envelope'],
  ];

  test.each(cases)('%s', (_what, message, reason) => {
    expect(poisoned(message)).toMatchObject({ ok: false, reason });
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test('a byte order mark is named, because an editor does not show it (C-01)', () => {
    expect(poisoned(raw(`\ufeff${JSON.stringify(IMAGE)}`))).toMatchObject({
      reason: 'invalid_json',
      message: expect.stringContaining('byte order mark') as string,
    });
  });

  test('a push names one user or up to ten thousand, and a token only with one', () => {
    const { userId, ...text } = PUSH;
    const push = (data: object) => createDecoder({ events, maxBodyBytes: 512 * 1024 })(raw(data, { routingKey: 'notification.push' }));
    const uuids = Array.from({ length: 10_000 }, (_, index) => `8a5c2f54-93a4-4d26-b1a4-${String(index).padStart(12, '0')}`);
    expect(push({ ...text, userId }).ok).toBe(true);
    expect(push({ ...text, userIds: uuids }).ok).toBe(true);
    for (const wrong of [{}, { userId, userIds: ['u2'] }, { userIds: [] }, { userIds: [...uuids, 'one-more'] }, { userIds: ['u2'], fcmToken: 'device' }])
      expect(push({ ...text, ...wrong })).toMatchObject({ ok: false, reason: 'schema', message: expect.stringMatching(/userIds?|fcmToken/) as string });
  });
  test('256 KiB exactly are still read', () => {
    const room = 256 * 1024 - JSON.stringify({ ...IMAGE, padding: '' }).length;
    expect(decoded(raw({ ...IMAGE, padding: 'x'.repeat(room) })).payload).toEqual(IMAGE);
  });

  test('brackets inside of texts are no nesting', () => {
    expect(decoded(raw({ ...IMAGE, originalName: '[{"\\[[[[['.repeat(50) })).ok).toBe(true);
  });

  test('the explanation names fields and never quotes what they hold (C-02)', () => {
    const secret = 'hunter2';
    for (const body of [
      { ...IMAGE, messageId: secret },
      { ...IMAGE, userId: [secret] },
      { ...IMAGE, type: secret },
      { ...IMAGE, s3Key: secret.repeat(1_000) },
    ]) {
      const { message } = poisoned(raw(body));
      expect(message).not.toContain(secret);
      expect(message).toMatch(/messageId|userId|type|s3Key/);
    }
  });

  test('the explanation stays short, whatever the field is called', () => {
    const data = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`${'😀'.repeat(1_000 + index)}`, 42]));
    const { message } = poisoned(raw({ ...PUSH, data }, { routingKey: 'notification.push' }));
    expect(message.length).toBeLessThanOrEqual(2_000);
    expect(message.isWellFormed()).toBe(true);
  });

  test.each([
    ['a million nested arrays (C-05)', nested(1_000_000)],
    ['a million keys (C-06)', `{${Array.from({ length: 1_000_000 }, (_, index) => `"${index}":0`).join(',')}}`],
  ])('%s are refused within 50 ms, even where larger bodies are allowed', (_what, text) => {
    const generous = createDecoder({ events, maxBodyBytes: text.length < 3_000_000 ? 3_000_000 : 256 * 1024 });
    const message = raw(text);
    const startedAt = performance.now();
    expect(generous(message).ok).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(50);
  });
});

describe('Whatever comes', () => {
  const message = (body: fc.Arbitrary<Buffer>) =>
    fc.record({
      routingKey: fc.oneof(fc.constantFrom(...events.map((event) => event.routingKey)), fc.string({ unit: 'binary' })),
      body,
      messageId: fc.option(fc.string({ unit: 'binary' }), { nil: undefined }),
      contentEncoding: fc.option(fc.string(), { nil: undefined, freq: 20 }),
      headers: fc.dictionary(fc.string(), fc.anything()),
    });
  const bytes = fc.uint8Array({ maxLength: 2_000 }).map((array) => Buffer.from(array));
  const json = fc.json({ maxDepth: 40 }).map((text) => Buffer.from(text));
  const almost = fc
    .record(
      {
        type: fc.anything(),
        s3Key: fc.anything(),
        userId: fc.anything(),
        messageId: fc.anything(),
        data: fc.anything(),
        specversion: fc.constantFrom('1.0', undefined),
        id: fc.anything(),
      },
      { requiredKeys: [] },
    )
    .map((value) => {
      try {
        return Buffer.from(JSON.stringify(value));
      } catch {
        return Buffer.from('{}');
      }
    });
  const reasons: PoisonReason[] = [
    'too_large',
    'unsupported_encoding',
    'invalid_json',
    'too_deep',
    'forbidden_key',
    'forbidden_text',
    'envelope',
    'unknown_type',
    'schema',
  ];

  test('decoding never throws, ends in one of its answers, and always names the message', () => {
    fc.assert(
      fc.property(message(fc.oneof(bytes, json, almost)), (any) => {
        const result = decode(any);
        expect(result.messageId.length).toBeGreaterThan(0);
        expect(result.messageId.length).toBeLessThanOrEqual(200);
        expect(result.messageId.isWellFormed()).toBe(true);
        expect(result.messageId).not.toContain('\u0000');
        expect(result.bodyHash).toHaveLength(32);
        if (!result.ok) {
          expect(reasons).toContain(result.reason);
          expect(result.message.length).toBeLessThanOrEqual(2_000);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('the same message decodes to the same thing each time', () => {
    fc.assert(
      fc.property(message(fc.oneof(json, almost)), (any) => {
        expect(decode(any)).toEqual(decode(any));
      }),
      { numRuns: 100 },
    );
  });

  test('what is stored reads back as the payload', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 50 });
    const push = fc.record({
      type: fc.constant('push'),
      userId: text.filter((value) => value.length > 0),
      title: text,
      body: text,
      data: fc.dictionary(
        text.filter((key) => !['__proto__', 'constructor', 'prototype'].includes(key)),
        text,
      ),
    });
    fc.assert(
      fc.property(push, (payload) => {
        const result = decoded(raw(payload, { routingKey: 'notification.push' }));
        expect(JSON.parse(result.payloadJson)).toEqual(JSON.parse(JSON.stringify(payload)));
      }),
      { numRuns: 200 },
    );
  });
});

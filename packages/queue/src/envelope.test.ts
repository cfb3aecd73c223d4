import fc from 'fast-check';
import { expect, test } from 'vitest';
import { messagesIn, seal } from './envelope.ts';

const job = (messageId: string, name = 'work.push', priority = 1) => ({ messageId, name, priority });

test('Jobs of one name and priority share an envelope; one alone needs none', () => {
  const sealed = seal([job('a'), job('b'), job('m', 'work.mail'), job('u', 'work.push', 10), job('c')], () => 200);
  const [a, b, mail, urgent, c] = sealed.map(({ carrier }) => carrier);
  expect(a).toMatch(/^e3-[0-9a-f]{32}$/);
  expect([b, c]).toEqual([a, a]);
  expect([mail, urgent]).toEqual([null, null]);
});

test('Every job is in one envelope of its own kind at most, in order, none too large, and the same every time', () => {
  const jobs = fc.uniqueArray(fc.record({ messageId: fc.string({ minLength: 1 }), name: fc.constantFrom('a', 'b', 'c'), priority: fc.constantFrom(1, 10) }), {
    selector: ({ messageId }) => messageId,
    maxLength: 60,
  });
  const sizes = fc.record({ a: fc.integer({ min: 1, max: 7 }), b: fc.integer({ min: 1, max: 50 }), c: fc.constant(1) });
  fc.assert(
    fc.property(jobs, sizes, (batch, sizeOf) => {
      const seal1 = seal(batch, (name) => sizeOf[name as 'a' | 'b' | 'c']);
      expect(seal1.map(({ carrier: _carrier, ...rest }) => rest)).toEqual(batch);
      expect(seal(batch, (name) => sizeOf[name as 'a' | 'b' | 'c'])).toEqual(seal1);
      const envelopes = Map.groupBy(
        seal1.filter(({ carrier }) => carrier !== null),
        ({ carrier }) => carrier,
      );
      for (const [id, together] of envelopes) {
        expect(new Set(together.map(({ name, priority }) => `${name} ${priority}`)).size).toBe(1);
        expect(together.length).toBeGreaterThan(1);
        expect(together.length).toBeLessThanOrEqual(sizeOf[together[0]?.name as 'a' | 'b' | 'c']);
        expect(messagesIn(id ?? '')).toBe(together.length);
      }
      // No more envelopes than are needed: of each kind, only the last may be less than full.
      for (const kind of Map.groupBy(seal1, ({ name, priority }) => `${name} ${priority}`).values()) {
        const size = sizeOf[kind[0]?.name as 'a' | 'b' | 'c'];
        const alone = kind.filter(({ carrier }) => carrier === null).length;
        expect(alone).toBe(size === 1 ? kind.length : kind.length % size === 1 ? 1 : 0);
      }
    }),
  );
});

test('A Bull job that is no envelope carries one message', () => {
  expect(messagesIn('j00ff')).toBe(1);
});

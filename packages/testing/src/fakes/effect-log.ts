import { EventEmitter } from 'node:events';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FakeService } from './rules.ts';

/**
 * One thing that happened outside: an object was stored, a push was accepted, a mail was taken.
 * `refused` entries are scripted errors, so that a test can count the tries.
 */
export type Effect = {
  /** Number in the log, from 1. */
  seq: number;
  /** ISO time. */
  at: string;
  service: FakeService;
  /**
   * s3: put, copy, delete, complete (a multipart upload); fcm: token, push; smtp: mail; sms: sms, report; resend: mail, replay; all: refused.
   */
  kind: string;
  /** s3: `bucket/key`; fcm: registration token; smtp and resend: recipients, joined with a comma; sms: number. */
  key: string;
  /** What else there is to know; see the fake's own file. */
  [detail: string]: unknown;
};

/** The append-only log of effects: in memory for questions, on disk (NDJSON) for people and crashes. */
export class EffectLog {
  readonly #file: string;
  readonly #effects: Effect[] = [];
  readonly #added = new EventEmitter().setMaxListeners(0);
  #seq = 0;

  constructor(file: string) {
    this.#file = file;
    mkdirSync(dirname(file), { recursive: true });
    for (const line of readLines(file)) {
      const effect = JSON.parse(line) as Effect;
      this.#effects.push(effect);
      this.#seq = Math.max(this.#seq, effect.seq);
    }
  }

  /** Written to the file before it returns: an effect that was answered for is never missing there. */
  append(service: FakeService, kind: string, key: string, details: Record<string, unknown> = {}): void {
    const effect: Effect = { ...details, seq: ++this.#seq, at: new Date().toISOString(), service, kind, key };
    appendFileSync(this.#file, JSON.stringify(effect) + '\n');
    this.#effects.push(effect);
    this.#added.emit('added');
  }

  /** Effects that match, in order. */
  find(filter: Record<string, string>, afterSeq = 0): Effect[] {
    const wanted = Object.entries(filter);
    return this.#effects.filter((effect) => effect.seq > afterSeq && wanted.every(([name, value]) => effect[name] === value));
  }

  /** As find, but waits until there is at least one or the time is over. */
  async waitFor(filter: Record<string, string>, afterSeq: number, timeoutMs: number): Promise<Effect[]> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const found = this.find(filter, afterSeq);
      const left = deadline - performance.now();
      if (found.length > 0 || left <= 0) return found;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          this.#added.off('added', done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#added.once('added', done);
      });
    }
  }

  /** Forget everything. Numbers go on, so that a waiting reader misses nothing. */
  clear(): void {
    this.#effects.length = 0;
    writeFileSync(this.#file, '');
  }
}

function readLines(file: string): string[] {
  try {
    // A line cut off by a kill is no effect: its request was never answered.
    return readFileSync(file, 'utf8').split('\n').slice(0, -1);
  } catch {
    return [];
  }
}

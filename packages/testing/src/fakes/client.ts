import type { Effect } from './effect-log.ts';
import type { FakeService, Rule } from './rules.ts';

/** Which effects: every given field must be equal. */
export type EffectFilter = { service?: FakeService; kind?: string; key?: string };

/** Counters of one fake since its start. */
export type FakeTraffic = { connections: number; requests: Record<string, number> };

/** Talks to the control port of the fakes. Cheap to make; holds nothing open. */
export class FakesClient {
  readonly #url: string;

  /** @param url of the control port, for example FAKES_URL or `stack.fakesServer.url` */
  constructor(url: string) {
    this.#url = url;
  }

  /** The effects so far, oldest first. */
  effects(filter: EffectFilter = {}): Promise<Effect[]> {
    return this.#ask<Effect[]>('GET', `/effects?${new URLSearchParams(filter as Record<string, string>).toString()}`);
  }

  /**
   * Script answers of one service. Rules of several calls add up; the first that applies wins, so tests
   * that share a stack should match on their own keys.
   *
   * @returns removes these rules again
   */
  async script(service: FakeService, rules: readonly Rule[]): Promise<{ remove: () => Promise<void> }> {
    const { id } = await this.#ask<{ id: number }>('POST', `/script/${service}`, rules);
    return { remove: () => this.#ask('DELETE', `/script/${service}?id=${id}`) };
  }

  /** Remove all rules and forget all effects, of every service or of one. Objects and mails stay. */
  async reset(): Promise<void> {
    await this.#ask('POST', '/reset');
  }

  /** Open connections and requests by operation, of each fake. */
  traffic(): Promise<Record<FakeService, FakeTraffic>> {
    return this.#ask('GET', '/traffic');
  }

  /**
   * The first effect, past or future, that the predicate accepts.
   *
   * @throws Error after timeoutMs, with the effects that were seen and refused
   */
  async waitFor(predicate: (effect: Effect) => boolean, timeoutMs = 10_000, filter: EffectFilter = {}): Promise<Effect> {
    const [found] = await this.#collect(filter, predicate, 1, timeoutMs);
    // #collect resolves only with as many as asked for.
    return found as Effect;
  }

  /** The first `count` effects of a kind, past or future. */
  waitForCount(count: number, filter: EffectFilter, timeoutMs = 10_000): Promise<Effect[]> {
    return this.#collect(filter, () => true, count, timeoutMs);
  }

  async #collect(filter: EffectFilter, predicate: (effect: Effect) => boolean, count: number, timeoutMs: number): Promise<Effect[]> {
    const deadline = performance.now() + timeoutMs;
    const accepted: Effect[] = [];
    let after = 0;
    let seen = 0;
    for (;;) {
      const left = Math.max(0, Math.ceil(deadline - performance.now()));
      const query = new URLSearchParams({ ...filter, after: String(after), waitMs: String(Math.min(left, 30_000)) } as Record<string, string>);
      const effects = await this.#ask<Effect[]>('GET', `/effects?${query.toString()}`);
      for (const effect of effects) {
        after = effect.seq;
        seen++;
        if (predicate(effect) && accepted.push(effect) === count) return accepted;
      }
      if (effects.length === 0 && performance.now() >= deadline) {
        const what = JSON.stringify(filter);
        throw new Error(`${accepted.length} of ${count} expected effects ${what} within ${timeoutMs} ms; ${seen} others were seen`);
      }
    }
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(this.#url + path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the fakes answered ${answer.status} to ${method} ${path}: ${text}`);
    return JSON.parse(text) as T;
  }
}

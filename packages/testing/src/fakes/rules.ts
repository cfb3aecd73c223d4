/** The services that the fakes play. */
export type FakeService = 's3' | 'fcm' | 'smtp' | 'sms' | 'resend';

/**
 * What a request is about, as rules match it.
 * - s3: `operation` (GetObject, PutObject, HeadObject, ..), `method`, `bucket`, `key`
 * - fcm: `operation` (token or send), `project`, `token`
 * - smtp: `step` (greeting, ehlo, auth, mail, rcpt, data, message; `message` is after the final dot), `from`, `to`
 * - sms: `operation` (create, fetch or list), `to`, `from`
 * - resend: `operation` (send), `to`, `idempotencyKey`
 */
export type Facts = Record<string, string>;

/** What happens instead of, or on top of, the normal answer. Fields combine where that makes sense. */
export type Action = {
  /** Wait this long before anything else. */
  delayMs?: number;
  /** Never answer. */
  hang?: true;
  /** Reset the connection (RST) before anything is done. */
  reset?: true;
  /** Do it, then reset the connection instead of answering: the caller cannot know. */
  loseReply?: true;
  /** Reset after this many bytes of the body: of the upload, or of the download. */
  resetAfterBytes?: number;
  /** Move the body at this rate, up or down. */
  bytesPerSecond?: number;
  /**
   * Answer with this error and do nothing. HTTP: a status. SMTP: a reply code.
   * Without a `body` the answer has the shape that the real service gives this status.
   */
  status?: number;
  /** The service's name of the error: S3 `SlowDown`, FCM `UNREGISTERED`, SMS `21610`, SMTP `4.7.1`, Resend `rate_limit_exceeded`. */
  code?: string;
  /** The error's text, or for HTTP services the whole body when it begins with `{` or `<`. */
  body?: string;
  headers?: Record<string, string>;
};

/** One scripted answer. */
export type Rule = {
  /** Facts that must all match; `*` stands for any text. Absent or empty: every request. */
  match?: Facts;
  /** Only the nth matching request, from 1. */
  nth?: number;
  /** Every nth matching request: 3 is the third, sixth, .. */
  every?: number;
  /** Stop after this many uses (default: for ever, until removed or reset). */
  times?: number;
  action: Action;
};

type ActiveRule = { id: number; rule: Rule; seen: number; used: number };

/** The rules of one service, in the order in which they were added; the first that applies wins. */
export class RuleBook {
  #rules: ActiveRule[] = [];

  add(id: number, rules: readonly Rule[]): void {
    this.#rules.push(...rules.map((rule) => ({ id, rule, seen: 0, used: 0 })));
  }

  /** Remove what was added under this id; without an id, everything. */
  remove(id?: number): void {
    this.#rules = id === undefined ? [] : this.#rules.filter((active) => active.id !== id);
  }

  /** The action for a request; counts it as seen and used. */
  take(facts: Facts): Action | undefined {
    for (const active of this.#rules) {
      const { match = {}, nth, every, times = Infinity, action } = active.rule;
      if (active.used >= times || !matches(match, facts)) continue;
      active.seen++;
      if (nth !== undefined && active.seen !== nth) continue;
      if (every !== undefined && active.seen % every !== 0) continue;
      active.used++;
      return action;
    }
    return undefined;
  }
}

function matches(match: Facts, facts: Facts): boolean {
  return Object.entries(match).every(([name, pattern]) => {
    const value = facts[name];
    return value !== undefined && wildcard(pattern).test(value);
  });
}

const wildcard = (pattern: string): RegExp =>
  new RegExp(
    `^${pattern
      .split('*')
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
      .join('.*')}$`,
    's',
  );

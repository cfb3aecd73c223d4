import { PolicyWait } from '../policy/ask.ts';
import { type Outcome, PermanentFailure, RetryLater, done, skipped } from '@backhaul/queue/job';

/** When the failed devices are tried again while others wait for hours; no try is used up by that. */
const retryBesideWaitMs = 300_000;

/** How the push to one device ended in this run. */
export type DeviceResult =
  | { readonly end: 'sent'; readonly alreadySent: boolean; readonly rule?: string | undefined }
  /** It will never be sent to this device: the provider refused, or nobody knows whether it was sent. */
  | { readonly end: 'refused'; readonly code: string }
  /** A rule of the policy decided against it. */
  | { readonly end: 'suppressed'; readonly rule: string }
  /** Another run may send it; `error` is why this one did not. */
  | { readonly end: 'open'; readonly error: Error };

/** Counts how the pushes of one message ended, and what that means for its job and for each user. */
export class Tally {
  readonly #users = new Map<string, 'reached' | 'open' | 'failed'>();
  readonly #refusals = new Map<string, number>();
  readonly #suppressed = new Map<string, number>();
  readonly #rules = new Map<string, number>();
  #sent = 0;
  #alreadySent = 0;
  #open = 0;
  /** The longest wait that was asked for. */
  #later: RetryLater | undefined;
  /** The shortest wait that the policy has for somebody: those who need not wait longer are not held up by those who must. */
  #wait: PolicyWait | undefined;
  #failure: Error | undefined;

  /** A user of whom no device is known yet. */
  addUser(userId: string): void {
    this.#users.set(userId, 'failed');
  }

  add(userId: string, result: DeviceResult): void {
    switch (result.end) {
      case 'sent':
        this.#users.set(userId, 'reached');
        if (result.alreadySent) this.#alreadySent += 1;
        else this.#sent += 1;
        if (result.rule !== undefined) count(this.#rules, result.rule);
        break;
      case 'refused':
        count(this.#refusals, result.code);
        break;
      case 'suppressed':
        count(this.#suppressed, result.rule);
        break;
      case 'open':
        if (this.#users.get(userId) !== 'reached') this.#users.set(userId, 'open');
        this.postpone(result.error);
    }
  }

  /** Something is left to another run. */
  postpone(error: Error): void {
    this.#open += 1;
    if (error instanceof PolicyWait) this.#wait = this.#wait === undefined || error.delayMs < this.#wait.delayMs ? error : this.#wait;
    else if (!(error instanceof RetryLater)) this.#failure ??= error;
    else if (this.#later === undefined || error.delayMs > this.#later.delayMs) this.#later = error;
  }

  /** Users by whether a device of theirs was reached; those for whom that is open only when `final`. */
  records(userIds: readonly string[], { final }: { readonly final: boolean }): { readonly userId: string; readonly success: boolean }[] {
    return userIds.flatMap((userId) => {
      const state = this.#users.get(userId);
      return state === undefined || (state === 'open' && !final) ? [] : [{ userId, success: state === 'reached' }];
    });
  }

  /**
   * What the job does now. Waiting goes before failing: what has to wait is
   * settled by waiting, and then a failure that stays uses up the tries.
   *
   * | the devices | the job |
   * |---|---|
   * | one has to wait for the provider | RetryLater |
   * | one has to wait by the policy | RetryLater; soon, if another failed |
   * | one failed | the failure: tried again by its policy |
   * | one got it, the others refused | done |
   * | all refused | PermanentFailure |
   * | none refused, the policy decided against all | skipped, by the rule if it was one |
   * | there are none | skipped `no_devices` |
   */
  outcome(): Outcome {
    const refused = [...this.#refusals.values()].reduce((sum, count) => sum + count, 0);
    const counts = `${this.#sent + this.#alreadySent} sent, ${refused} refused, ${this.#open} open`;
    if (this.#later !== undefined) throw new RetryLater(this.#later.code, this.#later.delayMs, `${counts}: ${this.#later.message}`, { cause: this.#later });
    if (this.#wait !== undefined) {
      const delayMs = this.#failure === undefined ? this.#wait.delayMs : Math.min(retryBesideWaitMs, this.#wait.delayMs);
      throw new RetryLater(this.#wait.code, delayMs, `${counts}: ${this.#wait.message}`, { cause: this.#failure ?? this.#wait });
    }
    if (this.#failure !== undefined) throw this.#failure;
    const refusals = sorted(this.#refusals);
    const suppressed = sorted(this.#suppressed);
    if (this.#sent + this.#alreadySent > 0) {
      const [rule, ...rules] = sorted(this.#rules);
      return done({
        channel: 'push',
        ...(rule === undefined ? {} : rules.length === 0 ? { rule: rule[0] } : { rules: Object.fromEntries(this.#rules) }),
        users: this.#users.size,
        sent: this.#sent,
        alreadySent: this.#alreadySent,
        refused: Object.fromEntries(refusals),
        ...(suppressed.length === 0 ? {} : { suppressed: Object.fromEntries(suppressed) }),
      });
    }
    const [only, ...others] = refusals;
    if (only === undefined) {
      const [rule, ...rules] = suppressed;
      if (rule === undefined) return skipped('no_devices', 'none of the users has a registered device');
      return skipped(rules.length === 0 ? rule[0] : 'all_suppressed', suppressed.map(([each, times]) => `${times} × ${each}`).join(', '));
    }
    const [code] = only;
    throw new PermanentFailure(
      others.length === 0 ? code : 'all_refused',
      `every device was refused: ${refusals.map(([each, count]) => `${count} × ${each}`).join(', ')}`,
    );
  }
}

function count(counts: Map<string, number>, word: string): void {
  counts.set(word, (counts.get(word) ?? 0) + 1);
}

function sorted(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].toSorted(([left], [right]) => (left < right ? -1 : 1));
}

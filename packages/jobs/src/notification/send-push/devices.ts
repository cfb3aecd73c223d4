/** A device that pushes can be sent to. */
export interface PushDevice {
  readonly token: string;
  readonly userId: string;
  /** The language tag that the app gave when it was registered. */
  readonly locale?: string | undefined;
  /** Set while the token is on probation, because the provider called it gone: the message that it said so of last. */
  readonly suspectMessageId: string | null;
}

/** What a provider said about a token, as opposed to a message, itself or us. */
export interface TokenAnswer {
  readonly token: string;
  readonly messageId: string;
  readonly says: 'reached' | 'gone';
  /** Whether it was on probation when the send began; undefined when that is not known, because the event named the token. */
  readonly onProbation: boolean | undefined;
  /** When the send began, by `performance.now()`. */
  readonly sentAt: number;
}

/** The devices of users, and the lives of their tokens. */
export interface PushDevices {
  /** Every device of these users. */
  ofUsers(userIds: readonly string[]): Promise<readonly PushDevice[]>;
  /** Draws the conclusions from answers. Does not throw: no push depends on them. */
  heard(answers: readonly TokenAnswer[]): Promise<void>;
}

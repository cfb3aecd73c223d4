/** What is taken back. */
export interface Withdrawal {
  /** Of the event: what was accepted before it is taken back with it. */
  readonly messageId: string;
  readonly userId: string;
  readonly reason: 'read' | 'deleted' | 'logged_out';
  readonly chatId: string | undefined;
  /** None: everything of the chat, or of the user. */
  readonly chatMessageIds: readonly string[];
  /** When the chat was read; undefined: when the event was accepted. */
  readonly readUpTo: Date | undefined;
}

/** Remembers what was taken back; whatever is about to be sent is compared with it. */
export interface Withdrawals {
  /** Twice is once. A chat that was read keeps its mark as well. */
  add(withdrawal: Withdrawal): Promise<void>;
}

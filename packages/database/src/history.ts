/** What is kept of an error: no payload, no secrets. */
export interface StoredError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly cause?: unknown;
}

/** One entry of a job's history. */
export interface HistoryEntry {
  readonly at: string;
  readonly event: 'started' | 'failed' | 'postponed' | 'finished' | 'retried' | 'requeued';
  readonly [detail: string]: unknown;
}

/** The longest one try of a notification job may take. */
export const timeoutMs = 30_000;

/** How long a provider may take. Below the job's limit, so that the ledger can still be told what happened. */
export const sendTimeoutMs = 20_000;

/** How long a claim keeps others away. Above the job's limit, or a second worker would take a send that still runs for a lost one. */
export const leaseMs = timeoutMs + 15_000;

/** Priority of calls and one-time codes: above every other job of the queue. */
export const urgentPriority = 10;

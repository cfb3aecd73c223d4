import { type EmailStatus, createEmailQueue } from '@backhaul/database';
import type { Connections } from '../connections.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { type Terminal, duration, table } from '../terminal.ts';

/** `backhaul email-queue`: every mail on record, the newest first, without its words; of its address only enough to recognise it. */
export async function listEmails(
  connections: Connections,
  terminal: Terminal,
  options: { status?: EmailStatus; limit: number; after?: string },
): Promise<ExitCode> {
  const emails = await createEmailQueue(connections.database()).list(options);
  const next = emails.length === options.limit ? (emails.at(-1)?.messageId ?? null) : null;
  terminal.answer({ emails, next }, () =>
    [
      table(
        ['age', 'status', 'recipient', 'template', 'attempts', 'provider', 'error', 'message id'],
        emails.map((email) => [
          duration(Date.now() - email.createdAt.getTime()),
          email.failedAfterRetries ? 'failed after retries' : email.status,
          email.recipient,
          email.template,
          email.attempts,
          email.provider,
          email.error,
          email.messageId,
        ]),
      ),
      ...(next === null ? [] : [`more: backhaul email-queue --after ${next}`]),
    ].join('\n'),
  );
  return EXIT.ok;
}

import { type Database, createEffects } from '@backhaul/database';
import type { NotificationPorts } from '@backhaul/jobs/notification';
import type { Logger } from '@backhaul/runtime';
import { createPgNotificationLog } from './adapters/pg-notification-log.ts';
import type { Channels } from './channels.ts';

/** The effects of this process: its channels to the outside, the ledger and the log in Postgres. */
export function createPorts({ channels, database, log }: { channels: Channels; database: Database; log: Logger }): NotificationPorts {
  return {
    push: channels.push.port,
    mailer: channels.mail.port,
    sms: channels.sms.port,
    notifications: createPgNotificationLog(database, log),
    effects: createEffects(database),
  };
}

import type { LookUp, NotificationPorts } from '../ports.ts';
import type { SmsReport, TextMessage } from '../sms-ports.ts';

/**
 * Finds the message of a send whose answer was lost. A report of the provider's
 * names the send; where none came, number, text and time must do. What the
 * ledger has confirmed for another send is left out: an alert that went out
 * twice in a minute, and was lost the second time, must not be found in the first.
 */
export async function findLost(ports: NotificationPorts, message: TextMessage, claimedAt: Date, signal: AbortSignal): Promise<LookUp> {
  const report = await ports.smsReports.ofSend(message.reference);
  if (report !== undefined) return lookUpOf(report);
  const list = await ports.sms.list(message, claimedAt, signal);
  if (list.outcome === 'unreadable') return list;
  const ids = list.messages.map(({ providerId }) => providerId);
  const others = ids.length === 0 ? new Set() : await ports.smsGuard.confirmedAmong(ids, claimedAt);
  const found = list.messages.find(({ providerId }) => !others.has(providerId));
  if (found === undefined) return { outcome: 'not_found' };
  return lookUpOf(found);
}

function lookUpOf({ providerId, status, undelivered }: Pick<SmsReport, 'providerId' | 'status' | 'undelivered'>): LookUp {
  if (undelivered) return { outcome: 'undelivered', providerId, detail: `the provider calls it ${status}` };
  return { outcome: 'found', providerId };
}

import type { LookUp, NotificationPorts, TextMessage } from '../ports.ts';

/**
 * Finds the message of a send whose answer was lost. The provider knows no key
 * of ours, so number, text and time must do. What the ledger has confirmed
 * for another send is left out: an alert that went out twice in a minute, and
 * was lost the second time, must not be found in the first.
 */
export async function findLost(ports: NotificationPorts, message: TextMessage, claimedAt: Date, signal: AbortSignal): Promise<LookUp> {
  const list = await ports.sms.list(message, claimedAt, signal);
  if (list.outcome === 'unreadable') return list;
  const ids = list.messages.map(({ providerId }) => providerId);
  const others = ids.length === 0 ? new Set() : await ports.smsGuard.confirmedAmong(ids, claimedAt);
  const found = list.messages.find(({ providerId }) => !others.has(providerId));
  if (found === undefined) return { outcome: 'not_found' };
  if (found.undelivered) return { outcome: 'undelivered', providerId: found.providerId, detail: `the provider calls it ${found.status}` };
  return { outcome: 'found', providerId: found.providerId };
}

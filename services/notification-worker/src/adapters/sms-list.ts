import type { SmsList, TextMessage } from '@backhaul/jobs/notification';
import { z } from 'zod';

/** What of Twilio's message list is read. */
const messageList = z.object({
  messages: z.array(z.object({ sid: z.string(), to: z.string(), body: z.string(), status: z.string(), date_created: z.string() })),
});

/** Twilio's times are whole seconds, of its clock. */
const clockToleranceMs = 5_000;

/** From the claim to the message's creation: what a request may take, and time to spare. Later ones belong to later sends. */
const longestSendMs = 60_000;

/** States in which a message was taken but did not arrive. */
const undeliveredStates = new Set(['failed', 'undelivered', 'canceled']);

/** Reads the messages with this number and text that a send claimed at `claimedAt` can have made, from Twilio's list, newest first. */
export function readSmsList(answer: string, { message, claimedAt, pageSize }: { message: TextMessage; claimedAt: Date; pageSize: number }): SmsList {
  const parsed = messageList.safeParse(json(answer));
  if (!parsed.success) return { outcome: 'unreadable', detail: 'the answer is no list of messages' };
  const earliest = claimedAt.getTime() - clockToleranceMs;
  const latest = claimedAt.getTime() + longestSendMs;
  const recent = parsed.data.messages.filter(({ date_created: created }) => Date.parse(created) >= earliest);
  // A full page that does not reach back to the send proves nothing.
  if (recent.length >= pageSize) return { outcome: 'unreadable', detail: 'more messages went to the number since than one answer lists' };
  const fitting = recent.filter((each) => each.to === message.to && each.body.trim() === message.body.trim() && Date.parse(each.date_created) <= latest);
  return {
    outcome: 'listed',
    messages: fitting.toReversed().map(({ sid, status }) => ({ providerId: sid, status, undelivered: undeliveredStates.has(status) })),
  };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

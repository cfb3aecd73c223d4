import type { NotificationCategory } from '@backhaul/events';

/** How notifications of one category are treated. */
interface CategoryRules {
  /** Goes through mutes, quiet hours, caps and presence. Never through what somebody turned off or blocked. */
  readonly urgent: boolean;
  /** Not sent when it is older than this; undefined: never too old. */
  readonly freshMs?: number;
  /** Not needed by somebody who has the app open on another device. */
  readonly seenInApp: boolean;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** Each category, and what is true of it. */
export const categoryRules: Readonly<Record<NotificationCategory, CategoryRules>> = {
  message: { urgent: false, freshMs: 24 * hourMs, seenInApp: true },
  mention: { urgent: false, freshMs: 24 * hourMs, seenInApp: true },
  // Nobody waits longer on the line.
  call: { urgent: true, freshMs: minuteMs, seenInApp: false },
  security: { urgent: true, seenInApp: false },
  marketing: { urgent: false, freshMs: 72 * hourMs, seenInApp: false },
  system: { urgent: false, seenInApp: false },
};

/** What of an event says what kind of notification it is. */
export interface Kind {
  readonly category?: NotificationCategory | undefined;
  readonly urgent?: boolean | undefined;
  /** Of a text message. */
  readonly class?: string | undefined;
}

/** The classes of text messages that somebody waits for, or must see. */
const urgentClasses: ReadonlySet<string | undefined> = new Set(['otp', 'two_factor', 'alert']);

/** Whether it goes through what may be overridden. With a category, the category decides: no flag makes an advertisement urgent. */
export function isUrgent({ category, urgent, class: textClass }: Kind): boolean {
  if (category !== undefined) return categoryRules[category].urgent;
  return urgent ?? urgentClasses.has(textClass);
}

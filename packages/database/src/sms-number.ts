import { createHash } from 'node:crypto';

/** What stands for a number (E.164) in the tables: its sha256. */
export function numberHash(number: string): Buffer {
  return createHash('sha256').update(number).digest();
}

/** Country and last digits, for people who look a number up. */
export function maskedNumber(number: string): string {
  return `${number.slice(0, 3)}…${number.slice(-2)}`;
}

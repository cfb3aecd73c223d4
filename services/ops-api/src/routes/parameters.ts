import { z } from 'zod';

/** A whole number in decimal digits: express hands every parameter over as text. */
const digits = (error: string) =>
  z
    .string({ error })
    .regex(/^\d{1,15}$/, error)
    .transform(Number);

/** How many rows an answer has at most: 1 to 500, 50 if not given. */
export const pageSize = digits('expected a whole number from 1 to 500')
  .refine((size) => size >= 1 && size <= 500, 'expected a whole number from 1 to 500')
  .default(50);

/** A dead letter's number. */
export const rowId = digits('expected the number of a dead letter');

/** `true` or `false`. */
export const flag = z.enum(['true', 'false'], { error: 'expected true or false' }).transform((value) => value === 'true');

/** One of the queues. */
export const queueName = (names: readonly string[]) => z.enum(names as [string, ...string[]], { error: `expected one of ${names.join(', ')}` });

/*
 * Columns as parameters: arrays in Postgres' binary form, for `unnest($1::text[], $2::int[], ...)`. A statement about many
 * rows is up to a third cheaper with them than with JSON, which Postgres parses value by value into text and from there into
 * types; pg's own arrays would be escaped here and parsed there, element by element. pg sends a Buffer as it is.
 */

/** The types' numbers in pg_type. */
const OIDS = { bool: 16, bytea: 17, int4: 23, text: 25, json: 114, float8: 701, timestamptz: 1184, uuid: 2950, jsonb: 3802 } as const;

/** One dimension, flags, type, length, lower bound. */
const HEAD_BYTES = 20;

/** Writes one value at `offset`, and says how long it was. */
type Write<Value> = (buffer: Buffer, value: Value, offset: number) => number;

/** @param room what all values together take at most, without their lengths */
function column<Value>(type: keyof typeof OIDS, values: readonly (Value | null)[], room: number, write: Write<Value>): Buffer {
  const buffer = Buffer.allocUnsafe(HEAD_BYTES + values.length * 4 + room);
  let offset = HEAD_BYTES;
  let holdsNull = 0;
  for (const value of values) {
    let length = -1;
    if (value === null) holdsNull = 1;
    else length = write(buffer, value, offset + 4);
    buffer.writeInt32BE(length, offset);
    offset += 4 + Math.max(0, length);
  }
  // No values: an array without dimensions.
  buffer.writeInt32BE(values.length === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(holdsNull, 4);
  buffer.writeInt32BE(OIDS[type], 8);
  if (values.length === 0) return buffer.subarray(0, 12);
  buffer.writeInt32BE(values.length, 12);
  buffer.writeInt32BE(1, 16);
  return buffer.subarray(0, offset);
}

/** What texts take in UTF-8 at most. */
function roomFor(values: readonly (string | null)[]): number {
  let units = 0;
  for (const value of values) units += value?.length ?? 0;
  return units * 3;
}

const writeText: Write<string> = (buffer, value, offset) => buffer.write(value, offset);

/** For `text[]`. Halves of surrogate pairs become U+FFFD; NUL is refused by Postgres. */
export function textColumn(values: readonly (string | null)[]): Buffer {
  return column('text', values, roomFor(values), writeText);
}

/** For `json[]`. */
export function jsonColumn(values: readonly (string | null)[]): Buffer {
  return column('json', values, roomFor(values), writeText);
}

/** For `jsonb[]`, of JSON texts that jsonb takes. */
export function jsonbColumn(values: readonly (string | null)[]): Buffer {
  return column<string>('jsonb', values, roomFor(values) + values.length, (buffer, value, offset) => {
    // The version of the form.
    buffer[offset] = 1;
    return 1 + buffer.write(value, offset + 1);
  });
}

/** The value of a hexadecimal digit by its character code. */
const DIGITS = new Uint8Array(128).fill(255);
for (let digit = 0; digit < 16; digit += 1) for (const text of [digit.toString(16), digit.toString(16).toUpperCase()]) DIGITS[text.charCodeAt(0)] = digit;
const HYPHEN = 45;

/** Digit by digit: without the hyphens in a string of its own it takes ten times as long. */
const writeUuid: Write<string> = (buffer, value, offset) => {
  let at = offset;
  for (let index = 0; index < value.length && at < offset + 16; index += 2) {
    if (value.charCodeAt(index) === HYPHEN) index += 1;
    const high = DIGITS[value.charCodeAt(index)] ?? 255;
    const low = DIGITS[value.charCodeAt(index + 1)] ?? 255;
    if ((high | low) > 15) throw new TypeError(`${value} is no uuid`);
    buffer[at] = (high << 4) | low;
    at += 1;
  }
  return at - offset;
};

/** For `uuid[]`, of uuids with hyphens. */
export function uuidColumn(values: readonly (string | null)[]): Buffer {
  return column<string>('uuid', values, values.length * 16, writeUuid);
}

/** For `bytea[]`. */
export function bytesColumn(values: readonly (Buffer | null)[]): Buffer {
  const room = values.reduce((sum, value) => sum + (value?.length ?? 0), 0);
  return column<Buffer>('bytea', values, room, (buffer, value, offset) => value.copy(buffer, offset));
}

/** For `int[]`. */
export function intColumn(values: readonly (number | null)[]): Buffer {
  return column<number>('int4', values, values.length * 4, (buffer, value, offset) => buffer.writeInt32BE(value, offset) - offset);
}

/** For `float8[]`. */
export function floatColumn(values: readonly (number | null)[]): Buffer {
  return column<number>('float8', values, values.length * 8, (buffer, value, offset) => buffer.writeDoubleBE(value, offset) - offset);
}

/** For `bool[]`. */
export function boolColumn(values: readonly (boolean | null)[]): Buffer {
  return column<boolean>('bool', values, values.length, (buffer, value, offset) => buffer.writeUInt8(value ? 1 : 0, offset) - offset);
}

/** Postgres counts from 2000-01-01, in microseconds. */
const EPOCH_MS = Date.UTC(2000, 0, 1);

/** For `timestamptz[]`. */
export function timeColumn(values: readonly (Date | null)[]): Buffer {
  return column<Date>(
    'timestamptz',
    values,
    values.length * 8,
    (buffer, value, offset) => buffer.writeBigInt64BE(BigInt(value.getTime() - EPOCH_MS) * 1_000n, offset) - offset,
  );
}

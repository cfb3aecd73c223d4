/** What was read is not the plain case: ffprobe has to look. Readers of a plain file throw it among themselves; what they tell others is undefined. */
export class NotPlain extends Error {
  override readonly name = 'NotPlain';
}

/** Goes on only with what is plain. */
export function must(plain: boolean): asserts plain {
  if (!plain) throw new NotPlain('not plain');
}

/** What `read` tells; undefined where something was not plain, or lay behind the end of its buffer. */
export function unlessNotPlain<Result>(read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (isNotPlain(error)) return undefined;
    throw error;
  }
}

/** Whether an error is about the bytes that were read. Buffers throw RangeError where a table claims more than there is. */
export function isNotPlain(error: unknown): boolean {
  return error instanceof NotPlain || error instanceof RangeError;
}

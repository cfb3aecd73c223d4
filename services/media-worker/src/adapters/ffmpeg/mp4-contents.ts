import { boxesIn } from './mp4-boxes.ts';
import { must } from './plain.ts';

/** Boxes by their type. */
export type Contents = ReadonlyMap<string, Buffer>;

/**
 * The contents of boxes that lie directly in another: of `known` types, each
 * once; of `ignored` ones, any number, which ffmpeg skips or takes nothing
 * from that is told here. Others are not plain: ffmpeg reads many kinds of
 * boxes wherever they lie.
 */
export function contentsOf(parent: Buffer, known: readonly string[], ignored: readonly string[] = []): Contents {
  must(isTiled(parent));
  const skipped = new Set(ignored);
  const contents = new Map<string, Buffer>();
  for (const { type, start, end } of boxesIn(parent)) {
    if (skipped.has(type)) continue;
    must(known.includes(type) && !contents.has(type));
    contents.set(type, parent.subarray(start, end));
  }
  return contents;
}

/** The content of a box that has to be there. */
export function need(contents: Contents, type: string): Buffer {
  const content = contents.get(type);
  must(content !== undefined);
  return content;
}

/** Boxes that nobody reads. */
export const FILLING = ['free', 'skip'];

/** Whether boxes fill another to its end. */
export function isTiled(parent: Buffer): boolean {
  return (boxesIn(parent).at(-1)?.end ?? 0) === parent.length;
}

/** `handler_type`: 8.4.3. */
export function handlerOf(hdlr: Buffer): string {
  must(hdlr.length >= 20);
  return hdlr.toString('latin1', 8, 12);
}

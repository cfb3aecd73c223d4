import type { StoredObject } from '../ports.ts';

/** The objects of one message. */
export interface MediaFolder {
  /** The second part of `media/<message id>/..`. */
  readonly messageId: string;
  readonly keys: readonly string[];
  /** The youngest object's time. */
  readonly modifiedAt: Date;
}

/** A folder is cut here, so that one with a million objects cannot fill the memory. */
const MAX_FOLDER = 10_000;

/** Gathers a listing in key order into folders. Keys of another layout are left out: what we did not put there is not ours to delete. */
export async function* mediaFolders(objects: AsyncIterable<StoredObject>): AsyncGenerator<MediaFolder> {
  let messageId: string | undefined;
  let keys: string[] = [];
  let modifiedAt = new Date(0);
  for await (const object of objects) {
    const id = /^media\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/./i.exec(object.key)?.[1];
    if (id !== messageId || keys.length >= MAX_FOLDER) {
      if (messageId !== undefined) yield { messageId, keys, modifiedAt };
      messageId = id;
      keys = [];
      modifiedAt = new Date(0);
    }
    if (id === undefined) continue;
    keys.push(object.key);
    if (object.modifiedAt > modifiedAt) modifiedAt = object.modifiedAt;
  }
  if (messageId !== undefined) yield { messageId, keys, modifiedAt };
}

/** What an event says that an upload is. */
export type MediaKind = 'image' | 'video' | 'audio';

/** A file format, told by its first bytes. */
export type MediaFormat =
  | 'jpeg'
  | 'png'
  | 'webp'
  | 'gif'
  | 'avif'
  | 'heic'
  | 'mp4'
  | 'matroska'
  | 'ogg'
  | 'mp3'
  | 'wav'
  | 'aac'
  | 'amr'
  | 'caf'
  | 'flac'
  | 'asf'
  /** Known, but nothing that a chat plays or shows. */
  | 'other';

/** What each format may hold. A container is opened to see what it really holds. */
const CARRIES: Readonly<Record<MediaFormat, readonly MediaKind[]>> = {
  jpeg: ['image'],
  png: ['image'],
  webp: ['image'],
  gif: ['image'],
  avif: ['image'],
  heic: ['image'],
  mp4: ['video', 'audio'],
  matroska: ['video', 'audio'],
  ogg: ['audio'],
  mp3: ['audio'],
  wav: ['audio'],
  aac: ['audio'],
  amr: ['audio'],
  caf: ['audio'],
  flac: ['audio'],
  asf: ['audio'],
  other: [],
};

/** Whether a file of this format can be what the event says. */
export function carries(format: MediaFormat, kind: MediaKind): boolean {
  return CARRIES[format].includes(kind);
}

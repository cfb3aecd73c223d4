import type { MediaFormat, MediaKind } from './format.ts';
import type { Images, Sounds, Videos } from './converters.ts';
import type { FailedProcessing, MediaMetadata } from './metadata.ts';

export type * from './converters.ts';

/** What the media handlers need of the world. The worker's adapters implement it; tests use `in-memory-ports.ts`. */
export interface MediaPorts {
  readonly originals: Originals;
  readonly derivatives: Derivatives;
  readonly formats: Formats;
  readonly images: Images;
  readonly videos: Videos;
  readonly sounds: Sounds;
  readonly messages: Messages;
  readonly scratch: Scratch;
  readonly limits: MediaLimits;
  readonly settings: MediaSettings;
}

/** What is accepted. */
export interface MediaLimits {
  /** The largest upload of each kind. */
  readonly maxBytes: Readonly<Record<MediaKind, number>>;
  /** The longest video and sound. */
  readonly maxDurationMs: Readonly<Record<'video' | 'audio', number>>;
  /** How long a source or message row that is not there yet is waited for: the event may overtake the upload and the app's commit. */
  readonly graceMs: number;
}

/** What is made, where there is a choice. */
export interface MediaSettings {
  /** An animated GIF also becomes an MP4, which is smaller and plays on more devices. */
  readonly animatedGifToMp4: boolean;
  /** The forms of a sound's waveform that are made beside our own. */
  readonly waveformExports: readonly WaveformExport[];
}

/** Forms of a waveform that other chats' clients read. `bbc` is the one of peaks.js. */
export type WaveformExport = 'discord' | 'telegram' | 'whatsapp' | 'bbc';

/** Why an original was not taken. Anything else is thrown: trying again may help. */
export type NotFetched = { readonly status: 'too_large' };

/** An upload, before it is fetched. */
export interface OriginalHead {
  /** As the store declares it; what arrives is counted all the same. */
  readonly sizeBytes: number;
  /** Changes whenever the object does. */
  readonly etag: string;
}

/** An original in memory. */
export interface OriginalBytes {
  readonly status: 'fetched';
  readonly sizeBytes: number;
  /** In hex. */
  readonly sha256: string;
  readonly bytes: Buffer;
}

/** An original on disk. */
export interface OriginalFile {
  readonly status: 'fetched';
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly file: string;
  /** Its first bytes, enough to tell the format. */
  readonly head: Buffer;
}

/** How much of an original is taken at most. */
export interface FetchOptions {
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** An original of which nothing was taken yet. What is taken then is this very object, whatever lies under its key by then. */
export interface OpenOriginal extends OriginalHead, Disposable {
  read(options: FetchOptions): Promise<OriginalBytes | NotFetched>;
  download(file: string, options: FetchOptions): Promise<OriginalFile | NotFetched>;
}

/** The uploads. */
export interface Originals {
  /** undefined when there is no such object. */
  head(key: string, signal: AbortSignal): Promise<OriginalHead | undefined>;
  /** undefined when there is no such object. */
  open(key: string, signal: AbortSignal): Promise<OpenOriginal | undefined>;
}

/** What lies under a key now. */
export interface StoredObject {
  readonly sizeBytes: number;
  /** The key was taken. */
  readonly existed: boolean;
}

/** What we make of the uploads; kept for ever under keys that never change their content. */
export interface Derivatives {
  /** Stores whole or not at all. A key that is taken is left as it is: it holds the same. */
  store(key: string, body: Buffer | { readonly file: string }, options: { readonly contentType: string; readonly signal: AbortSignal }): Promise<StoredObject>;
  /** Its size; undefined when it is not there. */
  sizeOf(key: string, signal: AbortSignal): Promise<number | undefined>;
  /** A small object of ours, whole; undefined when it is not there. */
  read(key: string, signal: AbortSignal): Promise<Buffer | undefined>;
  /** Removes everything under a prefix. */
  removeAll(prefix: string): Promise<void>;
  /** Where clients fetch it. */
  url(key: string): string;
}

/** Tells formats by their first bytes; names and declared types are never believed. */
export interface Formats {
  /** undefined when the bytes are of no known format. */
  sniff(head: Buffer): Promise<MediaFormat | undefined>;
}

/** What the chat's message row says of its media. */
export interface MessageMedia {
  readonly deleted: boolean;
  /** `messages.media_metadata` as it lies there, whoever wrote it. */
  readonly metadata: unknown;
}

/** The chat's `messages`. */
export interface Messages {
  /**
   * Holds a message for one job: whoever else works on the same message waits for it.
   * The message row itself stays free, so that the app can still delete it. 'taken' when another holds it.
   */
  hold(messageId: string): Promise<AsyncDisposable | 'taken'>;
  /** undefined when there is no such row. */
  find(messageId: string): Promise<MessageMedia | undefined>;
  /** Publishes everything in one statement, unless the message is gone or deleted. */
  complete(
    messageId: string,
    media: { readonly mediaUrl: string; readonly thumbnailUrl: string | null; readonly metadata: MediaMetadata },
  ): Promise<'stored' | 'deleted' | 'missing'>;
  /** Notes why there is nothing to show; leaves the URLs alone. No row is no error. */
  fail(messageId: string, processing: FailedProcessing): Promise<void>;
}

/** Private folders for work in progress. */
export interface Scratch {
  /**
   * An empty folder that is gone, with its content, after disposal.
   * @throws {TransientMediaFailure} disk_full, when there is no room for so much
   */
  open(options: { readonly reserveBytes: number }): Promise<AsyncDisposable & { readonly path: string }>;
}

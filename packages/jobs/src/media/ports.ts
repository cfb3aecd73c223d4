import type { MediaFormat, MediaKind } from './format.ts';
import type { FailedProcessing, MediaMetadata } from './metadata.ts';

/** What the media handlers need of the world. The worker's adapters implement it; tests use `in-memory-ports.ts`. */
export interface MediaPorts {
  readonly originals: Originals;
  readonly derivatives: Derivatives;
  readonly formats: Formats;
  readonly images: Images;
  readonly transcoder: Transcoder;
  readonly messages: Messages;
  readonly scratch: Scratch;
  readonly limits: MediaLimits;
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

/** Why an original could not be had. Anything else is thrown: trying again may help. */
export type NotFetched = { readonly status: 'missing' } | { readonly status: 'too_large' };

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

/** The uploads. */
export interface Originals {
  read(key: string, options: FetchOptions): Promise<OriginalBytes | NotFetched>;
  download(key: string, file: string, options: FetchOptions): Promise<OriginalFile | NotFetched>;
}

/** What we make of the uploads; kept for ever under keys that never change their content. */
export interface Derivatives {
  /** Stores whole or not at all. A key that is taken is left as it is: it holds the same. Resolves to the size of what lies there now. */
  store(key: string, body: Buffer | { readonly file: string }, options: { readonly contentType: string; readonly signal: AbortSignal }): Promise<number>;
  has(key: string, signal: AbortSignal): Promise<boolean>;
  remove(keys: readonly string[]): Promise<void>;
  /** Where clients fetch it. */
  url(key: string): string;
}

/** Tells formats by their first bytes; names and declared types are never believed. */
export interface Formats {
  /** undefined when the bytes are of no known format. */
  sniff(head: Buffer): Promise<MediaFormat | undefined>;
}

/** A picture to make. */
export interface Variant {
  readonly name: string;
  /** The longer side at most. */
  readonly maxPx: number;
}

/** A picture that was made. */
export interface RenderedVariant {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Buffer;
}

/** What came of a picture. */
export interface RenderedImage {
  /** The original as people see it: upright. */
  readonly width: number;
  readonly height: number;
  readonly animated: boolean;
  readonly contentType: string;
  readonly extension: string;
  /** The first variant always; a later one only where it is smaller than the one before. */
  readonly variants: readonly RenderedVariant[];
}

/** Pictures. */
export interface Images {
  /**
   * Upright, sRGB, without any metadata, never enlarged.
   * @param variants largest first
   * @throws {PermanentFailure} corrupt, unsupported, too_large
   */
  render(source: Buffer, variants: readonly Variant[], signal: AbortSignal): Promise<RenderedImage>;
}

/** A local file whose format is known. */
export interface MediaFile {
  readonly file: string;
  readonly format: MediaFormat;
  readonly sizeBytes: number;
}

/** What came of a video. */
export interface TranscodedVideo {
  readonly durationMs: number;
  /** As displayed: rotation and pixel shape applied. */
  readonly width: number;
  readonly height: number;
  readonly posterWidth: number;
  readonly posterHeight: number;
  readonly fps: number;
  readonly hasAudio: boolean;
  /** 'copied': the streams already fitted and were only put into a new container. */
  readonly mode: 'copied' | 'encoded';
  readonly source: {
    readonly width: number;
    readonly height: number;
    /** Clockwise degrees that the player has to turn it by. */
    readonly rotation: number;
    readonly videoCodec: string;
    readonly audioCodec: string | null;
  };
}

/** Videos and sounds. */
export interface Transcoder {
  /**
   * H.264 and AAC in an MP4 that starts to play before it is loaded, and a JPEG poster.
   * @throws {PermanentFailure} corrupt, unsupported, too_large, too_long, type_mismatch
   */
  toMp4(
    source: MediaFile,
    targets: { readonly video: string; readonly poster: string },
    options: { readonly maxDurationMs: number; readonly signal: AbortSignal; progress(percent: number): void },
  ): Promise<TranscodedVideo>;
  /**
   * Mono MP3 without tags or cover. The decoded sound passes `onPcm` on the way: signed 16-bit little-endian,
   * one channel, `pcmRate` samples a second, cut anywhere.
   * @throws {PermanentFailure} corrupt, unsupported, type_mismatch
   */
  toMp3(
    source: MediaFile,
    target: string,
    options: { readonly maxDurationMs: number; readonly pcmRate: number; readonly signal: AbortSignal; onPcm(chunk: Buffer): void },
  ): Promise<void>;
}

/** What the chat's message row says of its media. */
export interface MessageMedia {
  readonly deleted: boolean;
  /** `messages.media_metadata` as it lies there, whoever wrote it. */
  readonly metadata: unknown;
}

/** The chat's `messages`. */
export interface Messages {
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
  /** An empty folder that is gone, with its content, after disposal. */
  open(): Promise<AsyncDisposable & { readonly path: string }>;
}

import type { MediaFormat, MediaKind } from './format.ts';
import type { MediaWarning } from './failures.ts';
import type { FailedProcessing, MediaMetadata, Placeholder } from './metadata.ts';

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

/** Why an original could not be had. Anything else is thrown: trying again may help. */
export type NotFetched = { readonly status: 'missing' } | { readonly status: 'too_large' };

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
  /** Only this very object; another one under the key is `source_changed`. */
  readonly etag: string;
  readonly signal: AbortSignal;
}

/** The uploads. */
export interface Originals {
  /** undefined when there is no such object. */
  head(key: string, signal: AbortSignal): Promise<OriginalHead | undefined>;
  /** @throws {PermanentFailure} source_changed */
  read(key: string, options: FetchOptions): Promise<OriginalBytes | NotFetched>;
  /** @throws {PermanentFailure} source_changed */
  download(key: string, file: string, options: FetchOptions): Promise<OriginalFile | NotFetched>;
}

/** What we make of the uploads; kept for ever under keys that never change their content. */
export interface Derivatives {
  /** Stores whole or not at all. A key that is taken is left as it is: it holds the same. Resolves to the size of what lies there now. */
  store(key: string, body: Buffer | { readonly file: string }, options: { readonly contentType: string; readonly signal: AbortSignal }): Promise<number>;
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

/** A picture to make. */
export interface Variant {
  readonly name: string;
  /** The longer side at most. */
  readonly maxPx: number;
  /** Keep an animation's movement; otherwise its first picture. Default false. */
  readonly animated?: boolean;
}

/** A picture that was made. */
export interface RenderedVariant {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly extension: string;
}

/** What is asked of a decoder of pictures. */
export interface RenderRequest {
  readonly format: MediaFormat;
  /** Largest first. */
  readonly variants: readonly Variant[];
  /** Make only these of them, because the others are stored already; all of them if not given. */
  readonly only?: ReadonlySet<string> | undefined;
  /** Private, empty but for the original; for decoders that work on files. */
  readonly folder: string;
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** What came of a picture. */
export interface RenderedImage {
  /** The original as people see it: upright. */
  readonly width: number;
  readonly height: number;
  /** More than one picture is shown. */
  readonly animated: boolean;
  readonly hasAlpha: boolean;
  readonly placeholder: Placeholder;
  readonly warnings: readonly MediaWarning[];
  /** As stored by the sender: width, height, orientation (EXIF, 1 to 8), frames, .. */
  readonly source: Readonly<Record<string, string | number | boolean>>;
  /** The first variant always; a later one only where it is smaller than the one before. Of an animation: those that move, and the last, which stands still. */
  readonly variants: readonly RenderedVariant[];
}

/** Pictures. */
export interface Images {
  /**
   * Upright, sRGB, without any metadata, never enlarged.
   * @throws {PermanentFailure} corrupt, unsupported, unsupported_heic, too_large
   */
  render(source: Buffer, request: RenderRequest): Promise<RenderedImage>;
  /** What a picture of our own (a poster) looks like before it is loaded. */
  placeholder(file: string, signal: AbortSignal): Promise<Placeholder>;
}

/** A local file whose format is known. */
export interface MediaFile {
  readonly file: string;
  readonly format: MediaFormat;
  readonly sizeBytes: number;
}

/** How far a video had to be worked over: streams copied, only the sound encoded anew, or all of it. */
export type VideoRoad = 'remux' | 'audio_only' | 'transcode';

/** A size in pixels. */
export interface PixelSize {
  readonly width: number;
  readonly height: number;
}

/** What came of a video. */
export interface TranscodedVideo {
  readonly durationMs: number;
  /** As displayed: rotation and pixel shape applied. */
  readonly width: number;
  readonly height: number;
  readonly poster: PixelSize;
  readonly thumb: PixelSize;
  /** The mean; 0 when not known. */
  readonly fps: number;
  readonly hasAudio: boolean;
  readonly road: VideoRoad;
  readonly warnings: readonly MediaWarning[];
  readonly source: {
    readonly width: number;
    readonly height: number;
    /** Clockwise degrees that the player has to turn it by. */
    readonly rotation: number;
    readonly videoCodec: string;
    readonly audioCodec: string | null;
    readonly pixelFormat: string;
    readonly fps: number;
    readonly hdr: boolean;
    /** Of the whole file; null when not known. */
    readonly bitRate: number | null;
    readonly durationMs: number | null;
  };
}

/** How a child process works on a file. */
export interface ConvertOptions {
  readonly maxDurationMs: number;
  /** From the second try on it is run more carefully, and what kills it again is permanent. */
  readonly attempt: number;
  readonly signal: AbortSignal;
}

/** Where the decoded sound goes on the way: signed 16-bit little-endian, one channel, `pcmRate` samples a second, cut anywhere. */
export interface PcmSink {
  readonly pcmRate: number;
  onPcm(chunk: Buffer): void;
}

/** Where the pictures of a video go: JPEG. */
export interface StillTargets {
  /** Up to 1280 pixels long. */
  readonly poster: string;
  /** Up to 320. */
  readonly thumb: string;
}

/** Videos. */
export interface Videos {
  /**
   * H.264 and AAC in an MP4 that starts to play before it is loaded, two stills, and the sound's samples, all by one process.
   * `onRestart` tells that the sound begins anew: a first way failed, and another is tried.
   * @throws {PermanentFailure} corrupt, unsupported, too_large, too_long, type_mismatch, crashed, timeout
   */
  toMp4(
    source: MediaFile,
    targets: StillTargets & { readonly video: string },
    options: ConvertOptions & PcmSink & { onRestart(): void; progress(percent: number): void },
  ): Promise<TranscodedVideo>;
  /** The stills alone, of a video that is stored already. */
  toStills(source: MediaFile, targets: StillTargets, options: ConvertOptions): Promise<void>;
}

/** What a sound becomes. */
export interface SoundOutput {
  readonly contentType: string;
  readonly extension: string;
}

/** Sounds. */
export interface Sounds {
  readonly output: SoundOutput;
  /**
   * Mono, without tags or cover.
   * @throws {PermanentFailure} corrupt, unsupported, type_mismatch, crashed, timeout
   */
  convert(source: MediaFile, target: string, options: ConvertOptions & PcmSink): Promise<ConvertedSound>;
}

/** What came of a sound, but for what its samples tell. */
export interface ConvertedSound {
  readonly warnings: readonly MediaWarning[];
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

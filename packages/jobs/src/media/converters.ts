import type { MediaFormat } from './format.ts';
import type { MediaWarning } from './failures.ts';
import type { Placeholder } from './metadata.ts';

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

/** Where the decoded sound goes once the conversion went well: signed 16-bit little-endian, one channel, `pcmRate` samples a second, cut anywhere. */
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
   * @throws {PermanentFailure} corrupt, unsupported, too_large, too_long, type_mismatch, crashed, timeout
   */
  toMp4(
    source: MediaFile,
    targets: StillTargets & { readonly video: string },
    options: ConvertOptions & PcmSink & { progress(percent: number): void },
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

import type { JobContext } from '@backhaul/queue/job';
import type { Facts, FileFacts } from './facts.ts';
import type { MediaFormat, MediaKind } from './format.ts';
import type { FetchOptions, MediaPorts, NotFetched, OpenOriginal } from './ports.ts';

/** What the handlers read of a media event. */
export interface MediaPayload {
  readonly s3Key: string;
  readonly messageId: string;
}

/** An original that was fetched, in memory or on disk. */
export interface Original {
  readonly status: 'fetched';
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** One output on its way into the store. */
export interface MadeFile extends FileFacts {
  readonly body: Buffer | { readonly file: string };
}

/** What a recipe made of an original. */
export interface Made extends Omit<Facts, 'format' | 'files'> {
  readonly files: readonly MadeFile[];
}

/** An original that lies ready, and what it is. */
export type Ready<Fetched extends Original> = Fetched & { readonly format: MediaFormat };

/** What differs between pictures, videos and sounds. */
export interface Recipe<Fetched extends Original> {
  readonly kind: MediaKind;
  /** The room on disk that an original of this size takes with everything that is made of it. */
  roomFor(sizeBytes: number): number;
  fetch(original: OpenOriginal, folder: string, options: FetchOptions): Promise<Fetched | NotFetched>;
  /** The first bytes of what was fetched. */
  head(original: Fetched): Buffer;
  make(original: Ready<Fetched>, folder: string, context: JobContext<MediaPorts>): Promise<Made>;
  /** Makes no more than these outputs, whose facts are known from an earlier run. */
  makeOnly(names: ReadonlySet<string>, facts: Facts, original: Ready<Fetched>, folder: string, context: JobContext<MediaPorts>): Promise<readonly MadeFile[]>;
}

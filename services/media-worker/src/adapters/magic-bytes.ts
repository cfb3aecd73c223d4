import type { Formats, MediaFormat } from '@backhaul/jobs/media';
import { fileTypeFromBuffer } from 'file-type';

/** The bytes that the sniffer may look at; a picture's are all in memory, and no header is longer. */
const HEAD_BYTES = 4_100;

/** MIME types, as file-type names them, to formats. What is known but not listed is 'other'. */
const FORMATS: Readonly<Record<string, MediaFormat>> = {
  'image/jpeg': 'jpeg',
  'image/png': 'png',
  'image/apng': 'png',
  'image/webp': 'webp',
  'image/gif': 'gif',
  'image/avif': 'avif',
  'image/heic': 'heic',
  'image/heif': 'heic',
  'image/heic-sequence': 'heic',
  'image/heif-sequence': 'heic',
  'video/mp4': 'mp4',
  'video/quicktime': 'mp4',
  'video/x-m4v': 'mp4',
  'video/3gpp': 'mp4',
  'video/3gpp2': 'mp4',
  'audio/mp4': 'mp4',
  'audio/x-m4a': 'mp4',
  'video/webm': 'matroska',
  'video/matroska': 'matroska',
  'video/x-matroska': 'matroska',
  'audio/ogg': 'ogg',
  'audio/opus': 'ogg',
  'audio/ogg; codecs=opus': 'ogg',
  'application/ogg': 'ogg',
  'audio/mpeg': 'mp3',
  'audio/wav': 'wav',
  'audio/x-wav': 'wav',
  'audio/vnd.wave': 'wav',
  'audio/aac': 'aac',
  'audio/amr': 'amr',
  'audio/x-caf': 'caf',
  'audio/flac': 'flac',
  'audio/x-flac': 'flac',
  'audio/x-ms-asf': 'asf',
  'audio/x-ms-wma': 'asf',
};

/** Formats by magic bytes. */
export const magicBytes: Formats = {
  async sniff(head) {
    const type = await fileTypeFromBuffer(head.subarray(0, HEAD_BYTES)).catch(() => undefined);
    // A tag with a cover picture is longer than the head: the sound behind it is out of sight, and nearly always MP3.
    if (type === undefined && head.subarray(0, 3).toString('latin1') === 'ID3') return 'mp3';
    return type === undefined ? undefined : (FORMATS[type.mime] ?? 'other');
  },
};

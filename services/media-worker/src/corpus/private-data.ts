/**
 * What a phone writes into its files and nobody may see. Whatever of it turns
 * up in an output is a leak: the tests search the bytes of every output for it.
 */
export const PRIVATE = {
  maker: 'CanaryMaker',
  model: 'CanaryPhone 13',
  place: '+51.5007-000.1246/',
  person: 'CanaryPerson',
  xmp: 'canary-of-xmp',
  iptc: 'canary-of-iptc',
  note: 'canary-of-a-note',
} as const;

/** EXIF as sharp takes it: device, person, place. */
export const PRIVATE_EXIF = {
  IFD0: { Make: PRIVATE.maker, Model: PRIVATE.model, Artist: PRIVATE.person },
  IFD2: { UserComment: PRIVATE.note },
  IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 25/10', GPSLongitudeRef: 'W', GPSLongitude: '0/1 7/1 286/10', GPSAreaInformation: PRIVATE.place },
} as const;

/** The same thoughts in XML. */
export const PRIVATE_XMP = `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>${PRIVATE.xmp}</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`;

/** ffmpeg's arguments that write them into a video or sound, of the file and of its first stream. */
export const PRIVATE_TAGS: readonly string[] = [
  ...[`location=${PRIVATE.place}`, `com.apple.quicktime.location.ISO6709=${PRIVATE.place}`, `make=${PRIVATE.maker}`, `model=${PRIVATE.model}`],
  ...[`title=${PRIVATE.note}`, `artist=${PRIVATE.person}`, `comment=${PRIVATE.note}`, 'creation_time=2026-01-01T00:00:00Z'],
].flatMap((tag) => ['-metadata', tag]);

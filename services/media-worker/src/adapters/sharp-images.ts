import { type Images, type RenderRequest, type RenderedImage, type RenderedVariant, mediaFailure } from '@backhaul/jobs/media';
import { PermanentFailure } from '@backhaul/queue/job';
import sharp, { type Metadata } from 'sharp';
import { type AnimationPlan, MAX_MOVING_PX, asStill, movesUnseen, planAnimation, still } from './images/animation.ts';
import { blameImage } from './images/blame.ts';
import { decode } from './images/decode.ts';
import { type ImageFormat, encodeMoving, encodeStill, variantsFor } from './images/encode.ts';
import { type HeicDecoder, openHeic } from './images/heic.ts';
import { FIT, type ImageLimits, fromPixels, open, readHeader, release, setUpLibvips, toPixels } from './images/libvips.ts';
import { createPixelBudget } from './images/pixel-budget.ts';
import { placeholderOf } from './images/placeholder.ts';

/** How pictures are decoded, and what they become. */
export interface SharpImagesOptions {
  /** Default WebP. */
  readonly format?: ImageFormat;
  /** The most pixels, all frames that would be decoded counted. Default 64 million. */
  readonly maxPixels?: number;
  /** The most pixels of all pictures that are decoded at once; the others wait. Default twice `maxPixels`. */
  readonly maxPixelsInFlight?: number;
  /** The most pictures of an animation that are kept. Default 600. */
  readonly maxAnimationFrames?: number;
  /** The longest that one step in libvips may take. Default 30 s. */
  readonly stepTimeoutSeconds?: number;
  /** Without one, HEIC is refused. */
  readonly heic?: HeicDecoder | undefined;
}

/** What became of an animation. */
interface Moving extends Pick<RenderedImage, 'warnings'> {
  readonly moves: boolean;
  readonly variants: readonly RenderedVariant[];
}

const DAMAGED = 'a later picture of the animation is damaged';

/** Pictures by sharp. Sets libvips up for the whole process. */
export function sharpImages(options: SharpImagesOptions = {}): Images {
  setUpLibvips();
  const { format: outputFormat = 'webp', maxPixels = 64_000_000, maxAnimationFrames = 600, stepTimeoutSeconds = 30, heic } = options;
  const limits: ImageLimits = { maxPixels, stepTimeoutSeconds };
  const budget = createPixelBudget(options.maxPixelsInFlight ?? 2 * maxPixels);

  async function render(upload: Buffer, request: RenderRequest): Promise<RenderedImage> {
    const { format, variants, only, signal } = request;
    const [largest] = variants;
    if (largest === undefined) throw new TypeError('no variants were asked for');
    const bytes = asStill(upload, format);
    const header = await readHeader(bytes, limits);
    signal.throwIfAborted();
    const { width, height } = header.autoOrient;
    const longerSide = Math.max(width, height);
    const pixelsPerFrame = header.width * header.height;
    const plan = planAnimation(
      { format, pages: header.pages ?? 1, pixelsPerFrame, turned: (header.orientation ?? 1) !== 1 },
      { maxFrames: maxAnimationFrames, maxPixels },
    );
    using _held = await budget.take(pixelsPerFrame * plan.frames, signal);

    const moving = await renderMoving(bytes, plan, request);
    signal.throwIfAborted();
    const isHeic = header.compression === 'hevc';
    const picture = isHeic ? await openedHeic(bytes, header, request) : bytes;
    // Where HEIF says how to turn a picture, the decoder has done so; EXIF has no say in it.
    const { pixels, hasAlpha, warnings } = await decode(picture, { maxPx: largest.maxPx, autoOrient: !isHeic, limits });
    signal.throwIfAborted();

    const rendered = [...moving.variants];
    const stills = variantsFor(variants, longerSide, moving.moves).filter(({ animated }) => !moving.moves || animated !== true);
    let smallest = pixels;
    for (const { name, maxPx } of stills) {
      const isLast = name === stills.at(-1)?.name;
      const wanted = only === undefined || only.has(name);
      if (!wanted && !isLast) continue;
      let source = fromPixels(pixels, limits);
      if (maxPx < Math.max(pixels.width, pixels.height)) source = source.resize(maxPx, maxPx, FIT);
      if (isLast) {
        // Needed twice: for the placeholder as well.
        smallest = await toPixels(source);
        source = fromPixels(smallest, limits);
      }
      if (wanted) rendered.push({ name, ...(await encodeStill(source, outputFormat, hasAlpha)) });
      signal.throwIfAborted();
    }
    const placeholder = await placeholderOf(fromPixels(smallest, limits), limits);
    release(pixels);
    const unseen = movesUnseen(upload, format) ? still('the decoder reads only the first picture of such a file').warnings : [];
    return {
      width,
      height,
      animated: moving.moves,
      hasAlpha,
      placeholder,
      warnings: [...moving.warnings, ...unseen, ...warnings],
      source: factsOf(header),
      variants: rendered,
    };
  }

  /**
   * The outputs that move, by a decode of their own, which hands one picture
   * after the other to the encoder: all of them in memory would be a quarter of a gigabyte.
   */
  async function renderMoving(bytes: Buffer, plan: AnimationPlan, { variants, only, attempt, signal }: RenderRequest): Promise<Moving> {
    const moving = variants.filter(({ animated }) => animated === true);
    const made: RenderedVariant[] = [];
    if (plan.frames < 2 || moving.length === 0) return { moves: false, warnings: plan.warnings, variants: made };
    const possible = new Set(variantsFor(variants, Number.POSITIVE_INFINITY, true).map(({ name }) => name));
    // An earlier run made something that no animation gets: it found the animation damaged, as below.
    if (only !== undefined && ![...only].every((name) => possible.has(name))) return { moves: false, ...still(DAMAGED), variants: made };
    try {
      for (const { name, maxPx } of moving) {
        if (only !== undefined && !only.has(name)) continue;
        const px = Math.min(maxPx, MAX_MOVING_PX);
        const pictures = open(bytes, limits, { pages: plan.frames }).resize(px, px, FIT).toColourspace('srgb');
        made.push({ name, ...(await encodeMoving(pictures, outputFormat)) });
      }
      return { moves: true, warnings: plan.warnings, variants: made };
    } catch (error) {
      signal.throwIfAborted();
      const blamed = blameImage(error, attempt);
      if (!(blamed instanceof PermanentFailure) || blamed.code !== 'corrupt') throw blamed;
      // Its first picture may be whole all the same.
      return { moves: false, ...still(DAMAGED), variants: [] };
    }
  }

  async function openedHeic(bytes: Buffer, { hasAlpha, pages = 1, pagePrimary = 0 }: Metadata, { folder, attempt, signal }: RenderRequest): Promise<Buffer> {
    if (heic === undefined) throw mediaFailure('unsupported_heic', 'this worker has no decoder for HEIC; the program heif-convert of libheif is one');
    return openHeic(heic, { bytes, hasAlpha, pages, primary: pagePrimary, folder, attempt, signal });
  }

  return {
    async render(source, request) {
      try {
        return await render(source, request);
      } catch (error) {
        request.signal.throwIfAborted();
        throw blameImage(error, request.attempt);
      }
    },
    async placeholder(file, signal) {
      const placeholder = await placeholderOf(sharp(file, { limitInputPixels: maxPixels }).timeout({ seconds: stepTimeoutSeconds }), limits);
      signal.throwIfAborted();
      return placeholder;
    },
  };
}

/** What an app or an operator may want to know of an upload; nothing that says where, when or by whom it was taken. */
function factsOf({ width, height, orientation, pages, hasAlpha, space, depth, isProgressive, chromaSubsampling, compression, hasProfile }: Metadata) {
  return {
    width,
    height,
    orientation: orientation ?? 1,
    frames: pages ?? 1,
    hasAlpha,
    space,
    depth,
    progressive: isProgressive,
    profile: hasProfile,
    ...(chromaSubsampling === undefined ? {} : { chroma: chromaSubsampling }),
    ...(compression === undefined ? {} : { codec: compression }),
  };
}

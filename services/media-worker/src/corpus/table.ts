import { hostile } from './hostile.ts';
import { oddImages } from './images-odd.ts';
import { images } from './images.ts';
import { refused } from './refused.ts';
import type { CorpusRow } from './row.ts';
import { sounds } from './sounds.ts';
import { videos } from './videos.ts';

/** Every file of the corpus with its expected outcome: what people send, what networks leave of it, and what attackers make. */
export const CORPUS: readonly CorpusRow[] = [...images, ...oddImages, ...videos, ...sounds, ...refused, ...hostile];

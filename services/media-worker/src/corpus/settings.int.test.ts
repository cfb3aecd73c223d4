import { sharedStack } from '@backhaul/testing';
import { describe } from 'vitest';
import { oddImages } from './images-odd.ts';
import { images } from './images.ts';
import { testRows } from './run-table.ts';

const accepted = [...images, ...oddImages].filter(({ expect }) => typeof expect === 'object' && 'done' in expect);

describe('for clients without WebP, and with an MP4 beside each animated GIF', () => {
  testRows(accepted, { ...sharedStack().env, MEDIA_IMAGE_FORMAT: 'jpeg', MEDIA_ANIMATED_GIF_TO_MP4: 'true' });
});

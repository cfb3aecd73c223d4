import { sharedStack } from '@backhaul/testing';
import { describe } from 'vitest';
import { images } from './images.ts';
import { testRows } from './run-table.ts';

describe('for clients without WebP, and with an MP4 beside each animated GIF', () => {
  testRows(images, { ...sharedStack().env, MEDIA_IMAGE_FORMAT: 'jpeg', MEDIA_ANIMATED_GIF_TO_MP4: 'true' });
});

export { bodyOf, type ReadableBody } from './body.ts';
export { ReplayRefused, createReplay, type Replay, type Replayed, type ReplayOptions } from './replay.ts';

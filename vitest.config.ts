import { defineConfig } from 'vitest/config';

const everywhere = ['packages', 'services', 'tools', 'bench', 'tests'].map((folder) => `${folder}/**`);
const stack = './packages/testing/src/vitest-stack.ts';

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: 'unit',
          include: everywhere.map((folder) => `${folder}/*.test.ts`),
          exclude: ['**/node_modules/**', '**/*.int.test.ts', '**/*.flow.test.ts', '**/*.slow.test.ts'],
        },
      },
      {
        test: {
          name: 'int',
          include: everywhere.map((folder) => `${folder}/*.int.test.ts`),
          globalSetup: [stack],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'flow',
          include: ['tests/flow/**/*.flow.test.ts'],
          globalSetup: [stack],
          // Each starts a fleet of its own; two cores carry one at a time.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'slow',
          include: ['tests/flow/**/*.slow.test.ts'],
          globalSetup: [stack],
          fileParallelism: false,
          testTimeout: 900_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

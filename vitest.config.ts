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
          // Most of them wait for servers most of the time; by default two cores would run one file at a time.
          maxWorkers: 3,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'flow',
          include: ['tests/flow/**/*.flow.test.ts'],
          globalSetup: [stack],
          // Each starts a fleet of its own; two cores carry two, and none beside the other projects.
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'slow',
          include: everywhere.map((folder) => `${folder}/*.slow.test.ts`),
          globalSetup: [stack],
          fileParallelism: false,
          testTimeout: 900_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

import { defineConfig } from 'vitest/config';

/** How long a condition is waited for where a test names no time: long, since a machine may do other things, too. */
const expect = { poll: { timeout: 30_000 } };

/** `unit` needs nothing; `real` starts servers, one file at a time: they share two cores. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.real.test.ts', 'test/servers/**', 'test/contract/**'],
          testTimeout: 60_000,
          expect,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'real',
          include: ['test/**/*.real.test.ts', 'test/servers/**/*.test.ts', 'test/contract/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          expect,
          // After the others: some of them build anew what those run.
          sequence: { groupOrder: 1 },
          fileParallelism: false,
          maxWorkers: 1,
        },
      },
    ],
  },
});

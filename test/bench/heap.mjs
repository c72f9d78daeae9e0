// Loaded before the operator (`node --expose-gc --import`): at SIGUSR2 it collects all garbage and writes what is left to HEAP_FILE.
import { renameSync, writeFileSync } from 'node:fs';

process.on('SIGUSR2', () => {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  const file = process.env.HEAP_FILE;
  writeFileSync(`${file}.new`, JSON.stringify(heapUsed + external));
  renameSync(`${file}.new`, file);
});

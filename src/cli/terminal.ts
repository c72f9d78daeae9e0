import { createInterface } from 'node:readline/promises';
import { styleText } from 'node:util';
import type { Painter } from '../plan/render.ts';

const STYLES = {
  create: 'green',
  added: 'green',
  update: 'yellow',
  replace: 'magenta',
  delete: 'red',
  removed: 'red',
  refuse: 'red',
  noop: 'dim',
  dim: 'dim',
} as const;

/** Where a command reads and writes; replaced in tests. */
export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly paint: Painter;
  /** Whether a person sits at it who can be asked. */
  readonly interactive: boolean;
  ask(question: string): Promise<string>;
}

/** Colour only on a terminal, and not where NO_COLOR is set. */
export function processTerminal(): Terminal {
  const coloured = process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
    paint: (style, text) => (coloured ? styleText(STYLES[style], text, { validateStream: false }) : text),
    interactive: process.stdin.isTTY && process.stdout.isTTY,
    ask: async (question) => {
      const lines = createInterface({ input: process.stdin, output: process.stdout });
      try {
        return (await lines.question(question)).trim();
      } finally {
        lines.close();
      }
    },
  };
}

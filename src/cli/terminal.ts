import { createInterface } from 'node:readline/promises';
import { styleText } from 'node:util';
import { messageOf } from '../contract/errors.ts';
import type { Painter } from '../plan/render.ts';
import { Interrupted, type Interruption } from './interrupted.ts';

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
  /** For what goes to `out`. */
  readonly paint: Painter;
  /** For what goes to `err`. */
  readonly paintErr: Painter;
  /** Whether a person sits at it who can be asked. */
  readonly interactive: boolean;
  /** @throws Interrupted where there is no answer: Ctrl-C, Ctrl-D, or the signal. */
  ask(question: string, signal: AbortSignal): Promise<string>;
}

type Stream = NodeJS.WriteStream & { readonly fd: 1 | 2 };

/**
 * The process's own. A reader who closes the pipe ends nothing: what was begun is finished and recorded, unseen.
 * Anything else that keeps stdout from being written makes the exit code 1.
 */
export function processTerminal(): Terminal {
  const err = writer(process.stderr, () => undefined);
  const out = writer(process.stdout, (error) => {
    err(`Error: cannot write the output: ${messageOf(error)}`);
    process.exitCode = 1;
  });
  return {
    out,
    err,
    paint: painter(process.stdout),
    paintErr: painter(process.stderr),
    interactive: process.stdin.isTTY && process.stdout.isTTY,
    ask: (question, signal) => askOn(process.stdin, process.stdout, question, signal),
  };
}

function writer(stream: Stream, failed: (error: unknown) => void): (text: string) => void {
  let isBroken = false;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!isBroken && error.code !== 'EPIPE') failed(error);
    isBroken = true;
  });
  return (text) => {
    if (!isBroken) stream.write(`${text}\n`);
  };
}

/** Colour only on a terminal, and not where NO_COLOR is set. */
function painter(stream: Stream): Painter {
  const isColoured = stream.isTTY && (process.env['NO_COLOR'] ?? '') === '';
  return (style, text) => (isColoured ? styleText(STYLES[style], text, { validateStream: false }) : text);
}

/** @throws Interrupted, as Terminal.ask does. */
export async function askOn(
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  question: string,
  signal: AbortSignal,
): Promise<string> {
  const lines = createInterface({ input, output });
  const unanswered = new Promise<never>((_, fail) => {
    const end = (by: Interruption) => (): void => {
      output.write('\n');
      fail(new Interrupted(by, 'Nothing was done.'));
    };
    lines.once('SIGINT', end('SIGINT'));
    lines.once('close', end('end of input'));
    signal.addEventListener('abort', () => {
      fail(signal.reason as Error);
    });
  });
  try {
    // Node's own rejection at an end of input differs by version.
    return (await Promise.race([lines.question(question).catch(() => unanswered), unanswered])).trim();
  } finally {
    // Its own end is no end of input.
    lines.removeAllListeners('close');
    lines.close();
  }
}

import { CommanderError } from 'commander';
import { messageOf, TargetError, UsageError } from '../contract/errors.ts';
import { Interrupted } from './interrupted.ts';
import { errorText } from './report.ts';
import { InvalidManifests } from './session.ts';
import type { Terminal } from './terminal.ts';

interface Failure {
  /** As `-o json` prints them. */
  readonly errors: readonly { readonly message: string }[];
  /** For people. */
  readonly lines: readonly string[];
  readonly exitCode: number;
}

/** Says why a command ended early: on stderr, and with `-o json` as JSON on stdout too. @returns the exit code. */
export function explain(error: unknown, terminal: Terminal, isJson: boolean): number {
  const { errors, lines, exitCode } = failureOf(error);
  for (const line of lines) terminal.err(line);
  if (isJson && errors.length > 0) terminal.out(JSON.stringify({ errors }, null, 2));
  return exitCode;
}

function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) return ofCommandLine(error);
  if (error instanceof InvalidManifests) {
    const lines = [...error.errors.map(errorText), 'The manifests have errors: nothing was done.'];
    return { errors: error.errors, lines, exitCode: 1 };
  }
  const message = messageOf(error);
  if (error instanceof Interrupted) return { errors: [{ message }], lines: [message], exitCode: error.exitCode };
  if (error instanceof UsageError || error instanceof TargetError)
    return { errors: [{ message }], lines: [`Error: ${message}`], exitCode: 1 };
  const details = error instanceof Error ? (error.stack ?? message) : message;
  return { errors: [{ message }], lines: [`Unexpected error: ${details}`], exitCode: 1 };
}

/** Commander has printed it already; help and version are no errors. */
function ofCommandLine({ message, exitCode }: CommanderError): Failure {
  const errors = exitCode === 0 ? [] : [{ message: message.replace(/^error: /, '') }];
  return { errors, lines: [], exitCode };
}

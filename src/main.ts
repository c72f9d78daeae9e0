import { setMaxListeners } from 'node:events';
import { CommanderError } from 'commander';
import { messageOf, UsageError } from './contract/errors.ts';
import { program } from './cli/program.ts';
import { errorText } from './cli/report.ts';
import { InvalidManifests } from './cli/session.ts';
import { processTerminal } from './cli/terminal.ts';

/** The first signal lets running writes finish; a second one ends at once: the next apply finds what was begun. */
function stopOnSignals(terminal: { err: (text: string) => void }): AbortSignal {
  const controller = new AbortController();
  // Every request under way listens to it.
  setMaxListeners(0, controller.signal);
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
    terminal.err(`${signal}: finishing what is running; once more ends at once`);
    controller.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}

async function main(): Promise<number> {
  const terminal = processTerminal();
  let code = 0;
  const root = program(terminal, stopOnSignals(terminal), (exitCode) => {
    code = exitCode;
  });
  for (const command of [root, ...root.commands]) command.exitOverride();
  try {
    await root.parseAsync();
    return code;
  } catch (error) {
    return explain(error, terminal);
  }
}

function explain(error: unknown, terminal: ReturnType<typeof processTerminal>): number {
  if (error instanceof CommanderError) return error.exitCode;
  if (error instanceof InvalidManifests) {
    for (const one of error.errors) terminal.err(errorText(one));
    terminal.err('The manifests have errors: nothing was done.');
  } else if (error instanceof UsageError) {
    terminal.err(`Error: ${error.message}`);
  } else {
    terminal.err(`Unexpected error: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`);
  }
  return 1;
}

process.exitCode = await main();

import { setMaxListeners } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { explain } from './cli/failure.ts';
import { Interrupted } from './cli/interrupted.ts';
import { program } from './cli/program.ts';
import { processTerminal } from './cli/terminal.ts';

/**
 * Most of what this program does is done a few thousand times, once: to compile it with everything inlined that it calls costs
 * more than that ever saves. Measured by `make bench`.
 */
setFlagsFromString('--max-inlined-bytecode-size-cumulative=250');

/** The first signal lets running writes finish; a second one ends at once: the next apply finds what was begun. */
function stopOnSignals(): AbortSignal {
  const controller = new AbortController();
  // Every request under way listens to it.
  setMaxListeners(0, controller.signal);
  const onSignal = (signal: 'SIGINT' | 'SIGTERM'): void => {
    const interrupted = new Interrupted(signal);
    if (controller.signal.aborted) process.exit(interrupted.exitCode);
    controller.abort(interrupted);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return controller.signal;
}

async function main(): Promise<number> {
  const terminal = processTerminal();
  let code = 0;
  const root = program(terminal, stopOnSignals(), (exitCode) => {
    code = exitCode;
  });
  for (const command of [root, ...root.commands]) command.exitOverride();
  try {
    await root.parseAsync();
    return code;
  } catch (error) {
    // Only the command that was named has parsed anything.
    const isJson = root.commands.some((command) => command.opts()['output'] === 'json');
    return explain(error, terminal, isJson);
  }
}

const exitCode = await main();
// Output that could not be written has set it already.
process.exitCode ||= exitCode;

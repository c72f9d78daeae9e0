import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AddressInUseError } from './ports.ts';

export interface ServerSpec<Ready> {
  name: string;
  bin: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  /** Where the log goes. */
  directory: string;
  /**
   * Asked again and again until it resolves to a value; undefined and a rejection mean "not yet", except that a
   * GiveUpError ends the server and is passed on. `log` is what the server of this start has printed so far.
   */
  ready: (log: () => string) => Promise<Ready | undefined>;
  deadlineMs?: number;
}

export interface ServerProcess<Ready> {
  pid: number;
  /** What `ready` resolved to. */
  value: Ready;
  /** Ends the process (SIGTERM, SIGKILL after 10 s) and resolves once it is gone. May be called again. */
  stop: () => Promise<void>;
}

/** Waiting longer is of no use. */
export class GiveUpError extends Error {}

const POLL_MS = 20;
const DEADLINE_MS = 60_000;
const GRACE_MS = 10_000;

/** Starts a server and resolves when it is ready; otherwise it is ended and the error carries the tail of its log. */
export async function startProcess<Ready extends object>(spec: ServerSpec<Ready>): Promise<ServerProcess<Ready>> {
  const logFile = join(spec.directory, `${spec.name}.log`);
  const log = openSync(logFile, 'w');
  const child = spawnBound(spec, log);
  closeSync(log);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
    child.once('error', () => {
      resolve();
    });
  });
  const forget = onExit(() => child.kill('SIGKILL'));
  const stop = async (): Promise<void> => {
    if (isRunning(child)) {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
      await exited;
      clearTimeout(timer);
    }
    forget();
  };
  try {
    const value = await untilReady(spec, child, exited, () => readFileSync(logFile, 'utf8'));
    // Ready implies that it was spawned, hence a pid.
    return { pid: child.pid ?? 0, value, stop };
  } catch (error) {
    await stop();
    if (error instanceof GiveUpError) throw error;
    const tail = readFileSync(logFile, 'utf8').split('\n').slice(-30).join('\n');
    const message = `${spec.name} ${String(error instanceof Error ? error.message : error)}; its log ends with:\n${tail}`;
    if (/address already in use/i.test(tail)) throw new AddressInUseError(message);
    throw new Error(message, { cause: error });
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

/**
 * Spawns so that the server ends with this process however that ends. The exit hook cannot run when a test worker is
 * killed; on Linux the kernel then does it (util-linux' setpriv, which keeps the process id).
 */
function spawnBound(spec: ServerSpec<object>, log: number): ChildProcess {
  const [bin, args] = hasSetpriv()
    ? ['setpriv', ['--pdeathsig', 'KILL', spec.bin, ...spec.args]]
    : [spec.bin, spec.args];
  return spawn(bin, args, { env: spec.env, stdio: ['ignore', log, log], detached: false });
}

let setpriv: boolean | undefined;
function hasSetpriv(): boolean {
  setpriv ??= spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;
  return setpriv;
}

async function untilReady<Ready>(
  spec: ServerSpec<Ready>,
  child: ChildProcess,
  exited: Promise<void>,
  log: () => string,
): Promise<Ready> {
  const deadline = performance.now() + (spec.deadlineMs ?? DEADLINE_MS);
  let reason = '';
  let spawnError: Error | undefined;
  child.once('error', (error) => (spawnError = error));
  while (performance.now() < deadline) {
    const value = await spec.ready(log).catch((error: unknown) => {
      if (error instanceof GiveUpError) throw error;
      reason = String(error);
      return undefined;
    });
    // Asked after `ready`: the answer may have come from another server on the port that this one did not get.
    if (!isRunning(child)) throw spawnError ?? new Error('ended before it was ready');
    if (value !== undefined) return value;
    await Promise.race([delay(POLL_MS), exited]);
  }
  throw new Error(`was not ready in time (${reason || 'no error seen'})`);
}

const hooks = new Set<() => unknown>();

/** Runs `hook` (synchronous) when this process exits or is told to, unless the returned function was called before. */
export function onExit(hook: () => unknown): () => void {
  if (hooks.size === 0) watchForExit();
  hooks.add(hook);
  return () => hooks.delete(hook);
}

let watching = false;
function watchForExit(): void {
  if (watching) return;
  watching = true;
  process.on('exit', runHooks);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      runHooks();
      // What would have happened without this listener; with another one it is that one's decision.
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    });
  }
}

function runHooks(): void {
  for (const hook of hooks) {
    try {
      hook();
    } catch {
      // The others still have to run.
    }
  }
}

export interface TemporaryDirectory {
  path: string;
  remove: () => void;
}

/**
 * A directory that disappears at `remove`, at the latest with this process. The name stays short: Unix sockets below it
 * may have no more than 107 characters.
 */
export function temporaryDirectory(prefix: string): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), `${prefix}-`));
  const erase = (): void => {
    rmSync(path, { recursive: true, force: true });
  };
  const forget = onExit(erase);
  return {
    path,
    remove: () => {
      erase();
      forget();
    },
  };
}

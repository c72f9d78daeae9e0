import { createLog, type LogOptions } from '../../src/telemetry/log.ts';
import { logObserver, type LogObserver } from '../../src/telemetry/log-observer.ts';
import type { Step } from '../../src/plan/step.ts';

/** Steps and written entries, for tests of what the operator says about itself. */

export function step(over: Partial<Step> = {}): Step {
  return {
    action: 'update',
    kind: 'AclPolicy',
    namespace: 'default',
    name: 'readonly',
    object: 'default/acl-policy/readonly',
    changes: [{ path: 'rules', before: 'old-value', after: 'new-value', sensitive: false }],
    reason: 'Changed',
    message: '',
    ...over,
  };
}

export const done = { status: 'done', message: '' } as const;
export const refusedConnection = { status: 'failed', message: 'connect ECONNREFUSED 127.0.0.1:4646' } as const;
export const cluster = { kind: 'NomadCluster', name: 'default' } as const;

/** What was written, as it was written. */
export function sheet(isTTY = false): { isTTY: boolean; text: string; write(line: string): void } {
  return {
    isTTY,
    text: '',
    write(line) {
      this.text += line;
    },
  };
}

export interface Entry {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A log whose clock stands still until it is moved. */
export function told(options: LogOptions = {}): {
  observer: LogObserver;
  clock: { now: number };
  entries: () => Entry[];
  messages: () => string[];
} {
  const clock = { now: 0 };
  const stream = sheet();
  const observer = logObserver(createLog({ stream, ...options }), () => clock.now);
  const entries = (): Entry[] =>
    stream.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Entry);
  return { observer, clock, entries, messages: () => entries().map(({ level, msg }) => `${level}: ${msg}`) };
}

import type { Observer } from '../contract/observer.ts';
import { ConnectionLines } from './connection-lines.ts';
import type { Log } from './log.ts';
import { ManifestLines } from './manifest-lines.ts';
import { Repeats } from './repeats.ts';
import { StepLines } from './step-lines.ts';

/** The part of an Observer that is worth lines in the log. */
export type LogObserver = Pick<
  Observer,
  'driftFound' | 'driftCorrected' | 'stepped' | 'synced' | 'disconnected' | 'desired' | 'warned' | 'leading'
>;

/**
 * One line for each change and each transition, none for what stays as it is.
 * @param now monotonic milliseconds.
 */
export function logObserver(log: Log, now: () => number): LogObserver {
  const steps = new StepLines(log, now);
  const connections = new ConnectionLines(log);
  const manifests = new ManifestLines(log);
  const warnings = new Repeats(now);
  let wasLeading: boolean | undefined;
  return {
    driftFound: (step) => {
      steps.driftFound(step);
    },
    driftCorrected: (step, seconds) => {
      steps.driftCorrected(step, seconds);
    },
    stepped: (step, outcome, seconds) => {
      steps.stepped(step, outcome, seconds);
    },
    synced: (connection, isSynced, error) => {
      connections.synced(connection, isSynced, error);
    },
    disconnected: (connection) => {
      connections.disconnected(connection);
    },
    desired: (count, errors, held) => {
      manifests.desired(count, errors, held);
    },
    warned: (message) => {
      const held = warnings.failed(message.replace(/\d+/g, '#'), message);
      if (held !== undefined) log.warn(message, held === 0 ? {} : { repeated: held });
    },
    leading: (isLeader) => {
      if (isLeader === wasLeading) return;
      if (isLeader) log.info('leading: this replica acts');
      else if (wasLeading === true) log.warn('leading no more: this replica begins nothing');
      else log.info('standing by: another replica acts');
      wasLeading = isLeader;
    },
  };
}

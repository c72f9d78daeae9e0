import { afterEach } from 'vitest';
import { startOperator, type RunningOperator } from './running.ts';
import type { Workspace } from './workspace.ts';

/** Starts operators on a folder of manifests; what still runs after a test is killed. */
export interface Operators {
  /** In the environment of the workspace, over its manifests. @param args further options of `run`. */
  start(workspace: Workspace, ...args: string[]): Promise<RunningOperator>;
}

/** Registers the clean-up in the surrounding `describe`. */
export function useOperators(): Operators {
  const started: RunningOperator[] = [];
  afterEach(async () => {
    for (const operator of started) operator.kill('SIGKILL');
    await Promise.all(started.splice(0).map((operator) => operator.ended));
  });
  return {
    start: async (workspace, ...args) => {
      const operator = await startOperator(
        ['--source', 'directory', '-f', 'manifests', ...args],
        workspace.environment(),
        { cwd: workspace.folder },
      );
      started.push(operator);
      return operator;
    },
  };
}

/** The series of how many resources of a kind are ready. */
export function readySeries(kind: string): string {
  return `nomad_access_resources{kind="${kind}",ready="True"}`;
}

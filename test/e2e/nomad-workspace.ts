import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { Workspace } from './workspace.ts';

/** A Nomad, and an empty folder of manifests whose commands find it in their environment. */
export interface NomadWorkspace {
  readonly nomad: NomadServer;
  readonly live: LiveNomad;
  readonly workspace: Workspace;
}

/**
 * Registers what starts and ends them in the surrounding `describe`. Policies and tokens are deleted after each test; what else it
 * makes is its own to delete.
 * @param each called before each test with the Nomad, and a workspace of its own.
 */
export function useNomad(each: (made: NomadWorkspace) => void): void {
  let nomad: NomadServer;
  let live: LiveNomad;
  let workspace: Workspace;
  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
  });
  afterAll(() => nomad.stop());
  beforeEach(() => {
    workspace = new Workspace({ nomad });
    each({ nomad, live, workspace });
  });
  afterEach(async () => {
    workspace.dispose();
    await live.clear();
  });
}

/** `apply`, which must succeed. @returns what it did: action, name and the paths of what changed. */
export async function applied(workspace: Workspace): Promise<string[]> {
  const { steps, code } = await workspace.apply();
  expect(steps.filter((s) => s.result?.status === 'failed')).toEqual([]);
  expect(code).toBe(0);
  return steps
    .filter(({ action }) => action !== 'noop')
    .map(({ action, name, changes }) => `${action} ${name} ${changes.map((c) => c.path).join()}`.trim());
}

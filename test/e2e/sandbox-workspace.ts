import { afterEach, beforeEach } from 'vitest';
import { startSandbox, type Sandbox } from '../../src/sandbox/index.ts';
import { Workspace } from './workspace.ts';

/** A fresh sandbox, and an empty folder of manifests whose commands find it in their environment. */
export interface SandboxWorkspace {
  readonly sandbox: Sandbox;
  readonly workspace: Workspace;
}

/** Registers what makes and ends them in the surrounding `describe`; filled in anew before each test. */
export function useSandbox(): SandboxWorkspace {
  const made = {} as { -readonly [field in keyof SandboxWorkspace]: SandboxWorkspace[field] };
  beforeEach(async () => {
    made.sandbox = await startSandbox();
    made.workspace = new Workspace(made.sandbox);
  });
  afterEach(async () => {
    made.workspace.dispose();
    made.sandbox.onRequest = undefined;
    await made.sandbox.close();
  });
  return made;
}

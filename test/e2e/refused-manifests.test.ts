import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from './sandbox-workspace.ts';
import { manifest, Workspace } from './workspace.ts';

const BAD = join(import.meta.dirname, '../sources/directory/bad-manifests');
const READ = `rules: 'namespace "default" { policy = "read" }'`;

describe('a bad manifest among good ones', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;
  let requests: string[];

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    requests = [];
    sandbox.onRequest = ({ method, path }) => void requests.push(`${method} ${path}`);
    workspace.write('good.yaml', manifest('AclPolicy', 'good', READ), manifest('VaultJwtIntegration', 'workloads'));
  });

  it.each([
    'yaml-tab-indent.yaml',
    'kind-unknown.yaml',
    'policy-unknown-field.yaml',
    'policy-rules-mapping.yaml',
    'same-policy-twice.yaml',
    'same-mount-twice.yaml',
    'policy-task-without-group.yaml',
    'reference-undeclared.yaml',
    'integration-two-key-sources.yaml',
    'token-accessor-form.yaml',
    'everything-at-once.yaml',
  ])('%s: apply says where and what, and asks nothing of any server', async (file) => {
    copyFileSync(join(BAD, file), join(workspace.manifests, file));
    const expected = /^# expect: line (\d+), \S*: (.+)$/m.exec(readFileSync(join(BAD, file), 'utf8'));
    const { code, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect(code).toBe(1);
    expect(stderr).toContain(`${file}:${expected?.[1] ?? ''}:`);
    // Places are told as seen from the working directory.
    expect(stderr).toContain(expected?.[2]?.replace(` at ${file}:`, ` at manifests/${file}:`));
    expect(requests).toEqual([]);
  });

  it('is all that keeps the good ones back: without it they are applied', async () => {
    const { code } = await workspace.apply();
    expect(code).toBe(0);
    expect(requests).toContain('PUT /v1/acl/policy/good');
  });
});

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { kinds } from '../../src/kinds/index.ts';
import { manifest } from '../e2e/workspace.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';

const CRDS = resolve(import.meta.dirname, '../../crds');
const BAD = resolve(import.meta.dirname, '../sources/directory/bad-manifests');

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('the CRDs on a real API server', () => {
  let kubernetes: KubernetesServer;

  beforeAll(async () => {
    kubernetes = await startKubernetes();
    const applied = await kubernetes.kubectl('apply', '-f', CRDS);
    expect(applied.code, applied.stderr).toBe(0);
    const established = await kubernetes.kubectl(
      'wait',
      '--for=condition=Established',
      '--timeout=60s',
      'crd',
      '--all',
    );
    expect(established.code, established.stderr).toBe(0);
  });
  afterAll(() => kubernetes.stop());

  const tryOut = (yaml: string): ReturnType<KubernetesServer['kubectl']> =>
    kubernetes.kubectl('apply', '--dry-run=server', '--validate=strict', '-f', '-', { input: yaml });

  it('are structural', async () => {
    const { stdout } = await kubernetes.kubectl('get', 'crd', '-o', 'json');
    const { items } = JSON.parse(stdout) as {
      items: { metadata: { name: string }; status: { conditions: { type: string; status: string }[] } }[];
    };
    expect(items).toHaveLength(kinds.length);
    const bad = items.filter((crd) =>
      crd.status.conditions.some((c) => c.type === 'NonStructuralSchema' && c.status === 'True'),
    );
    expect(bad.map((crd) => crd.metadata.name)).toEqual([]);
  });

  it.each(kinds.map((kind) => [kind.kind, kind] as const))(
    '%s: its example is accepted, and the server fills in the same defaults as we do',
    async (_name, kind) => {
      const created = await kubernetes.kubectl('apply', '--validate=strict', '-f', '-', '-o', 'json', {
        input: kind.example,
      });
      expect(created.code, created.stderr).toBe(0);
      const { spec } = JSON.parse(created.stdout) as { spec: unknown };
      const ours: unknown = kind.spec.parse((parse(kind.example) as { spec: unknown }).spec);
      expect(spec).toEqual(JSON.parse(JSON.stringify(ours)));
    },
  );

  it('are listed together by their category, and by short names with their columns', async () => {
    const { stdout } = await kubernetes.kubectl('get', 'nomad-access', '-A', '-o', 'name');
    expect(stdout.trim().split('\n')).toHaveLength(kinds.length);
    for (const kind of kinds) {
      const listed = await kubernetes.kubectl('get', kind.shortNames[0] ?? '', '-A');
      expect(listed.stdout).toContain('READY');
      for (const column of kind.printerColumns.filter((c) => (c.priority ?? 0) === 0))
        expect(listed.stdout).toContain(column.name.toUpperCase());
    }
  });

  it.each(kinds.map((kind) => [kind.kind, kind] as const))(
    '%s: as long as nobody has looked at it, it has observed no generation, and kstatus sees it in progress',
    async (_name, kind) => {
      const { code, stdout, stderr } = await kubernetes.kubectl('create', '-f', '-', '-o', 'json', {
        input: kind.example.replace(/^ {2}name: .*$/m, '  name: new'),
      });
      expect(code, stderr).toBe(0);
      expect((JSON.parse(stdout) as { status: unknown }).status).toEqual({ observedGeneration: -1 });
    },
  );

  it('show what the operator tells of a resource in columns that `kubectl get` and `explain` explain', async () => {
    const time = '2026-01-02T03:04:05Z';
    const condition = { status: 'True', lastTransitionTime: time, reason: 'Applied', message: 'It is as declared.' };
    const status = {
      observedGeneration: 1,
      conditions: [{ type: 'Ready', observedGeneration: 1, ...condition }],
      live: { name: 'readonly-on-nomad' },
      lastDrift: { time, fields: ['spec.rules'], object: 'default/acl-policy/readonly-on-nomad' },
      lastReconcileRequest: 'now',
    };
    const object = { apiVersion: 'nomad-access.io/v1alpha1', kind: 'AclPolicy', metadata: { name: 'told' } };
    const spec = { rules: '# none' };
    await kubernetes.kubectl('create', '-f', '-', { input: JSON.stringify({ ...object, spec }) });
    const patched = await kubernetes.kubectl(
      'apply',
      '--server-side',
      '--field-manager=nomad-access',
      '--subresource=status',
      '-o',
      'json',
      '-f',
      '-',
      { input: JSON.stringify({ ...object, status }) },
    );
    expect(patched.code, patched.stderr).toBe(0);
    expect((JSON.parse(patched.stdout) as { status: unknown }).status).toEqual(status);

    const [head, row] = (await kubernetes.kubectl('get', 'aclpol', 'told')).stdout.trimEnd().split('\n');
    expect(head?.split(/ {2,}/)).toEqual(['NAME', 'POLICY', 'READY', 'REASON', 'LAST DRIFT', 'AGE']);
    expect(row).toMatch(/^told +readonly-on-nomad +True +Applied +\d+d +\d+s$/);
    const wide = await kubernetes.kubectl('get', 'aclpol', 'told', '-o', 'wide');
    expect(wide.stdout).toContain('It is as declared.');
    const explained = await kubernetes.kubectl('explain', 'aclpolicy', '--recursive');
    for (const field of ['rules', 'jobId', 'observedGeneration', 'lastReconcileRequest'])
      expect(explained.stdout).toMatch(new RegExp(`\\b${field}\\t`));
    const explainedField = await kubernetes.kubectl('explain', 'aclpolicy.status.lastDrift.fields');
    expect(explainedField.stdout).toContain('what had been changed');
  });

  const RULES = 'rules: \'namespace "x" { policy = "read" }\'';
  it.each([
    ['AclPolicy', `${RULES}\nname: before`, `${RULES}\nname: after`, 'name is immutable'],
    ['AclPolicy', RULES, `${RULES}\nname: after`, 'name is immutable'],
    ['AclPolicy', `${RULES}\nnomadRef: a`, `${RULES}\nnomadRef: b`, 'nomadRef is immutable'],
    [
      'AclToken',
      'policies: [a]\nwriteSecretTo: { none: {} }',
      'policies: [a]\naccessorId: 11111111-1111-1111-1111-111111111111\nwriteSecretTo: { none: {} }',
      'accessorId is immutable',
    ],
    ['VaultJwtIntegration', 'path: a', 'path: b', 'path is immutable'],
    ['VaultJwtIntegration', 'vaultRef: a', 'vaultRef: b', 'vaultRef is immutable'],
  ])('%s: %j cannot become %j', async (kind, before, after, message) => {
    const name = 'immutable';
    await kubernetes.kubectl('delete', kind, name, '--ignore-not-found');
    const created = await kubernetes.kubectl('apply', '-f', '-', { input: manifest(kind, name, before) });
    expect(created.code, created.stderr).toBe(0);
    const changed = await kubernetes.kubectl('apply', '-f', '-', { input: manifest(kind, name, after) });
    expect(changed.code).toBe(1);
    expect(changed.stderr).toContain(message);
  });

  it.each([
    ['60', true],
    ['59', false],
    ['1h30m', true],
    ['0.5m', false],
    ['59s999ms', false],
  ])('AclToken: an expirationTtl of %s is accepted: %s', async (ttl, isAccepted) => {
    const spec = `policies: [a]\nwriteSecretTo: { none: {} }\nexpirationTtl: ${ttl}`;
    const { code, stderr } = await tryOut(manifest('AclToken', 'ttl', spec));
    expect(code === 0, stderr).toBe(isAccepted);
    if (!isAccepted) expect(stderr).toContain('spec.expirationTtl');
  });

  /** What `validate` expects of a bad manifest, and whether the API server can say the same. */
  const cases = readdirSync(BAD)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => {
      const text = readFileSync(join(BAD, file), 'utf8');
      const paths = [...text.matchAll(/^# expect: line \d+, (\S*): /gm)].map(([, path = '']) => path);
      return { file, text, paths, mark: /^# crd: (.*)$/m.exec(text)?.[1] ?? 'yes' };
    });
  const refused = cases.filter(({ mark }) => mark === 'yes');
  const excepted = cases.filter(({ mark }) => mark !== 'yes');

  /** Where the API server points beside what is expected: to what encloses it, or lies in it. */
  const NEAR: Readonly<Record<string, string>> = {
    'spec-missing.yaml': 'spec',
    'policy-rules-mapping.yaml': 'spec.rules.namespace',
    'token-secret-keys-same.yaml': 'spec.writeSecretTo.kubernetesSecret.keys',
  };

  /** The fields that an answer of kubectl names. */
  function named(stderr: string): string[] {
    const invalid = [...stderr.matchAll(/(?:^\* |is invalid: )([a-zA-Z_]\S*): /gm)];
    const unknown = [...stderr.matchAll(/unknown field "([^"]+)"/g)];
    return [...invalid, ...unknown].map(([, path = '']) => path);
  }

  it('there are bad manifests to try', () => {
    expect(refused.length).toBeGreaterThan(80);
    expect(excepted.filter(({ mark }) => !mark.startsWith('no, '))).toEqual([]);
  });

  it.each(refused)(
    'refuse $file at admission, and name the same fields as `validate`',
    async ({ file, text, paths }) => {
      const { code, stderr } = await tryOut(text);
      expect(code, 'it was accepted').toBe(1);
      expect(named(stderr)).toEqual(expect.arrayContaining(NEAR[file] === undefined ? paths : [NEAR[file]]));
      // Written by mistake where no secret belongs, and not for logs.
      expect(stderr).not.toMatch(/hunter2|2f9a1c44/);
    },
  );

  it('refuse createNamespace, which waits for no finalizer there', async () => {
    const spec =
      'address: https://vault.example.com\nnamespace: team\nauth: { tokenSecretRef: { namespace: a, name: b } }\ncreateNamespace: ';
    expect((await tryOut(manifest('VaultServer', 'maker', `${spec}false`))).code).toBe(0);
    const { code, stderr } = await tryOut(manifest('VaultServer', 'maker', `${spec}true`));
    expect(code).toBe(1);
    expect(stderr).toContain('createNamespace is only for a directory of manifests');
  });

  it('refuse a file, which would be one on the machine of the operator', async () => {
    const spec = 'policies: [a]\nwriteSecretTo: { file: { path: /etc/passwd } }';
    const { code, stderr } = await tryOut(manifest('AclToken', 'file', spec));
    expect(code).toBe(1);
    expect(named(stderr)).toEqual(['spec.writeSecretTo.file']);
    expect(stderr).toContain('needs the directory source; use kubernetesSecret');
  });

  it.each(excepted)('cannot say the same of $file: $mark', async ({ text, paths }) => {
    const { code, stderr } = await tryOut(text);
    const known = named(stderr);
    expect(code === 1 && paths.every((path) => known.includes(path)), 'it is refused as it should be').toBe(false);
  });
});

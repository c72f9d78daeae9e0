import { describe, expect, it } from 'vitest';
import type { RequestEvent } from '../../src/sandbox/index.ts';
import { LiveNomad, LiveVault } from './live.ts';
import { useSandbox } from './sandbox-workspace.ts';
import { manifest } from './workspace.ts';

const POLICY = manifest('AclPolicy', 'read', `rules: 'namespace "default" { policy = "read" }'`);

interface Sink {
  readonly declared: string;
  /** What is asked of the servers to write it, one after the other. */
  readonly writes: readonly string[];
  readonly at: string;
}

const SINKS: Record<string, Sink> = {
  'KV version 2': {
    declared: 'vaultKv: { path: ci/nomad }',
    writes: ['/v1/secret/data/ci/nomad', '/v1/secret/metadata/ci/nomad'],
    at: 'secret/data/ci/nomad',
  },
  'KV version 1': {
    declared: 'vaultKv: { mount: kv, path: ci/nomad }',
    writes: ['/v1/kv/ci/nomad'],
    at: 'kv/ci/nomad',
  },
  'a variable': {
    declared: 'nomadVariable: { path: ci/nomad }',
    writes: ['/v1/var/ci/nomad'],
    at: '/v1/var/ci/nomad',
  },
};

interface Moment {
  readonly sink: Sink;
  readonly path: string;
  readonly phase: RequestEvent['phase'];
}

const MOMENTS = Object.entries(SINKS).flatMap(([name, sink]) =>
  sink.writes.flatMap((path) =>
    (['before', 'after'] as const).map((phase): [string, Moment] => [
      `${name}, ${phase} the write of ${path}`,
      { sink, path, phase },
    ]),
  ),
);

describe('SIGKILL where a secret is written', () => {
  const on = useSandbox();

  function declare({ declared }: Sink, more = ''): void {
    const token = manifest('AclToken', 'ci', `policies: [read]\nwriteSecretTo: { ${declared} }\n${more}`);
    on.workspace.write('all.yaml', POLICY, token);
  }

  async function killed({ path, phase }: Moment): Promise<void> {
    const { sandbox, workspace } = on;
    const { child, outcome } = workspace.start(['apply', '-f', 'manifests', '-y']);
    sandbox.onRequest = (event) => {
      if (event.method === 'GET' || event.path !== path || event.phase !== phase) return undefined;
      child.kill('SIGKILL');
      return 'drop';
    };
    expect((await outcome).signal).toBe('SIGKILL');
    sandbox.onRequest = undefined;
  }

  async function held({ at }: Sink): Promise<Record<string, string> | undefined> {
    if (at.startsWith('/')) {
      const { status, body } = await new LiveNomad(on.sandbox.nomad).request<{ Items: Record<string, string> }>(
        'GET',
        at,
      );
      return status === 404 ? undefined : body.Items;
    }
    const data = await new LiveVault(on.sandbox.vault).data(at);
    return (at.startsWith('kv/') ? data : data?.['data']) as Record<string, string> | undefined;
  }

  async function converges(sink: Sink): Promise<void> {
    const nomad = new LiveNomad(on.sandbox.nomad);
    const applied = await on.workspace.apply();
    expect(applied.code, JSON.stringify(applied.steps)).toBe(0);
    expect((await on.workspace.plan('--detailed-exitcode')).code).toBe(0);
    const [token, ...more] = await nomad.marked();
    expect(more).toEqual([]);
    const { SecretID } = await nomad.token(token?.AccessorID ?? '');
    expect(await held(sink)).toEqual({ accessor_id: token?.AccessorID, secret_id: SecretID });
  }

  async function vanishes(sink: Sink): Promise<void> {
    expect((await on.workspace.destroy()).code).toBe(0);
    expect(await held(sink)).toBeUndefined();
    expect(await new LiveVault(on.sandbox.vault).data('secret/metadata/ci/nomad')).toBeUndefined();
    expect(await new LiveNomad(on.sandbox.nomad).marked()).toEqual([]);
    expect(on.workspace.recorded()).toEqual([]);
  }

  async function deleteToken(): Promise<void> {
    const nomad = new LiveNomad(on.sandbox.nomad);
    for (const { AccessorID } of await nomad.marked()) await nomad.request('DELETE', `/v1/acl/token/${AccessorID}`);
  }

  async function prepareMaking({ sink }: Moment): Promise<void> {
    await new LiveVault(on.sandbox.vault).request('POST', 'sys/mounts/kv', { type: 'kv', options: { version: '1' } });
    declare(sink);
  }

  async function prepareHandover(moment: Moment): Promise<void> {
    await prepareMaking(moment);
    expect((await on.workspace.apply()).code).toBe(0);
    declare(moment.sink, 'global: true');
  }

  describe.each(MOMENTS)('in %s', (_name, moment) => {
    // What marks a secret is written once.
    const isOnce = moment.path.includes('/metadata/');
    describe.each([
      ['as it is made', prepareMaking],
      ...(isOnce ? [] : [['as it is handed over', prepareHandover] as const]),
    ] as const)('%s', (_when, prepare) => {
      it('the next apply ends in the declared state', async () => {
        await prepare(moment);
        await killed(moment);
        await converges(moment.sink);
        await vanishes(moment.sink);
      });

      it('so it does, though somebody has deleted the token meanwhile', async () => {
        await prepare(moment);
        await killed(moment);
        await deleteToken();
        await converges(moment.sink);
      });

      it('a destroy leaves nothing', async () => {
        await prepare(moment);
        await killed(moment);
        await vanishes(moment.sink);
      });
    });
  });
});

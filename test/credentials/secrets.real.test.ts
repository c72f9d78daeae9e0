import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/contract/clock.ts';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { LiveNomad } from '../e2e/live.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { Connected, declared } from './connected.ts';

interface Token {
  readonly AccessorID: string;
  readonly SecretID: string;
}

const SECRETS = '/api/v1/namespaces/default/secrets';

describe.skipIf(!requireServers('nomad', 'etcd', 'kube-apiserver', 'kubectl'))('a token in a Secret', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let kubernetes: KubernetesServer;
  let api: KubernetesClient;
  let connected: Connected;
  /** What must never be said. */
  const tokens: string[] = [];

  beforeAll(async () => {
    [nomad, kubernetes] = await Promise.all([startNomad({ client: false }), startKubernetes()]);
    live = new LiveNomad(nomad);
    api = await openKubernetes({ kubeconfig: kubernetes.kubeconfig });
  });
  afterAll(async () => {
    await api.close();
    await Promise.all([nomad.stop(), kubernetes.stop()]);
  });
  beforeEach(() => {
    connected = new Connected({ kubernetes: api });
  });
  afterEach(async () => {
    await connected.close();
    await api.delete(`${SECRETS}/nomad`);
    for (const token of tokens) expect(connected.said.join('\n')).not.toContain(token);
  });

  async function makeToken(): Promise<Token> {
    const { body } = await live.request<Token>('PUT', '/v1/acl/token', { Name: 'operator', Type: 'management' });
    tokens.push(body.SecretID);
    return body;
  }

  const inSecret = (data: Record<string, string>): Promise<unknown> =>
    api.patch(`${SECRETS}/nomad`, 'apply', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'nomad' },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
    });

  const cluster = (key?: string): ReturnType<typeof declared> =>
    declared('NomadCluster', 'default', {
      address: nomad.address,
      auth: { tokenSecretRef: { namespace: 'default', name: 'nomad', ...(key !== undefined && { key }) } },
    });

  const write = (name: string): Promise<unknown> =>
    connected.opened.io
      .nomad('default')
      .put(`/v1/acl/policy/${name}`, { Name: name, Rules: 'namespace "default" { policy = "read" }' });

  it('needs no permission for the address: whoever declares a connection there is an administrator', async () => {
    await inSecret({ token: (await makeToken()).SecretID });
    await connected.declare([cluster()]);
    expect(connected.only.refused).toBeUndefined();
    await write('a');
  });

  it('is rotated, and the old one deleted at once: no write fails, and the connection stays the same', async () => {
    let token = await makeToken();
    await inSecret({ token: token.SecretID });
    await connected.declare([cluster()]);
    const connection = connected.only;
    let isOver = false;
    let written = 0;
    const writer = async (n: number): Promise<void> => {
      while (!isOver) {
        await write(`w${String(n)}`);
        written++;
      }
    };
    const rotate = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) {
        const before = written;
        const next = await makeToken();
        await inSecret({ token: next.SecretID });
        await live.request('DELETE', `/v1/acl/token/${token.AccessorID}`);
        token = next;
        while (written < before + 20) await new Promise((done) => setImmediate(done));
      }
      isOver = true;
    };
    await Promise.all([rotate(), ...Array.from({ length: 8 }, (_, n) => writer(n))]);
    expect(written).toBeGreaterThan(100);
    expect([connected.only, connected.changes]).toEqual([connection, 0]);
    expect(connected.only).toBe(connection);
  });

  it('is looked at when the old one is refused before the news has come, and not for each request that lacks a right', async () => {
    await connected.close();
    let looks = 0;
    connected = new Connected({
      // Time stands still: another look may be had after a while.
      clock: { ...systemClock, monotonic: () => 0 },
      kubernetes: {
        ...withoutNews(api),
        get: (path, signal) => {
          looks++;
          return api.get(path, signal);
        },
      },
    });
    const [token, next] = [await makeToken(), await makeToken()];
    await inSecret({ token: token.SecretID });
    await connected.declare([cluster()]);
    await inSecret({ token: next.SecretID });
    await live.request('DELETE', `/v1/acl/token/${token.AccessorID}`);
    await Promise.all(Array.from({ length: 10 }, (_, n) => write(`n${String(n)}`)));
    expect(connected.requests).toContain('PUT 403');
    expect(looks).toBe(1);
    await live.request('DELETE', `/v1/acl/token/${next.AccessorID}`);
    for (let i = 0; i < 5; i++) await expect(write('d')).rejects.toThrow('403');
    expect(looks).toBe(1);
  });

  it('is waited for: the refusal names the Secret, the key and the command, and ends when it is there', async () => {
    connected.own('default');
    await connected.declare([cluster()]);
    const { refused } = connected.only;
    expect(refused).toEqual({
      error:
        'NomadCluster default: there is no Secret default/nomad, whose key "token" must hold the token: create it (kubectl create secret generic nomad -n default --from-file=token=FILE)',
      reason: 'Denied',
    });
    expect(connected.ledger.connections(), 'a refused one must not become the known one').toEqual([]);
    await inSecret({ token: (await makeToken()).SecretID });
    await connected.until('usable');
    await write('b');
    expect(connected.ledger.connections()).toHaveLength(1);
  });

  it('that is taken away or emptied makes the connection refused, each time with what is wrong', async () => {
    const { SecretID } = await makeToken();
    await inSecret({ token: SecretID });
    await connected.declare([cluster()]);
    const usable = connected.only;
    await api.delete(`${SECRETS}/nomad`);
    const gone = await connected.until('refused');
    expect(gone.refused?.error).toContain('there is no Secret default/nomad');
    await expect(write('c')).rejects.toThrow('there is no Secret default/nomad');
    await inSecret({ other: SecretID });
    await expect.poll(() => connected.only.refused?.error).toContain('Secret default/nomad has no key "token"');
    await inSecret({ token: ' \n' });
    await expect.poll(() => connected.only.refused?.error).toContain('key "token" of Secret default/nomad is empty');
    await inSecret({ token: `${SecretID}\n` });
    const again = await connected.until('usable');
    expect(again).not.toBe(gone);
    expect({ ...again }).toEqual({ ...usable });
    await write('c');
  });

  it('under another key is read from there', async () => {
    await inSecret({ secret_id: (await makeToken()).SecretID });
    await connected.declare([cluster('secret_id')]);
    expect(connected.only.refused).toBeUndefined();
  });

  it('that may not be read is said so in the words of the API server', async () => {
    await api.create('/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'nobody' } });
    const { stdout } = await kubernetes.kubectl('create', 'token', 'nobody', '-n', 'default');
    const limited = await openKubernetes({ kubeconfig: kubeconfigWith(kubernetes.kubeconfig, stdout.trim()) });
    const refused = new Connected({ kubernetes: limited });
    await refused.declare([cluster()]);
    expect(refused.only.refused?.reason).toBe('Unavailable');
    expect(refused.only.refused?.error).toMatch(
      /^NomadCluster default: Secret default\/nomad can't be read: .*is forbidden/,
    );
    await refused.close();
    await limited.close();
  });
});

/** An API server whose events never come. */
function withoutNews(api: KubernetesApi): KubernetesApi {
  return {
    get: (...args) => api.get(...args),
    list: (...args) => api.list(...args),
    create: (...args) => api.create(...args),
    replace: (...args) => api.replace(...args),
    patch: (...args) => api.patch(...args),
    delete: (...args) => api.delete(...args),
    follow: (collection, handler, signal) =>
      api.follow(
        collection,
        {
          ...handler,
          changed: () => undefined,
          replaced: once((all) => {
            handler.replaced(all);
          }),
        },
        signal,
      ),
  };
}

function once<T>(callback: (value: T) => void): (value: T) => void {
  let isCalled = false;
  return (value) => {
    if (!isCalled) callback(value);
    isCalled = true;
  };
}

/** A kubeconfig with another token, beside the administrator's. */
function kubeconfigWith(path: string, token: string): string {
  const config = JSON.parse(readFileSync(path, 'utf8')) as { users: { user: object }[] };
  const other = `${path}-limited`;
  writeFileSync(other, JSON.stringify({ ...config, users: config.users.map((u) => ({ ...u, user: { token } })) }));
  return other;
}

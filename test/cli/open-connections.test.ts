import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ACCEPT_ADDRESS_CHANGE, recordOf } from '../../src/cli/connections.ts';
import type { OpenOptions } from '../../src/cli/open-connections.ts';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import { Connected, declared } from '../credentials/connected.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((o) => o.close()));
});

function connect(options: Partial<OpenOptions> = {}): Connected {
  const connected = new Connected(options);
  open.push(connected);
  return connected;
}

const never = (): Promise<never> => Promise.reject(new Error('nothing is asked of Kubernetes'));
/** Where nothing names a Secret, nothing is asked of it: it says that connections are declared in Kubernetes. */
const kubernetes: KubernetesApi = {
  get: never,
  list: never,
  create: never,
  replace: never,
  patch: never,
  delete: never,
  follow: never,
};
const ELSEWHERE = 'https://vault.example.com:8200';
const vault = (auth: object, address = ELSEWHERE): ReturnType<typeof declared> =>
  declared('VaultServer', 'default', { address, auth });
const nomad = (address: string, annotations = {}, more = {}): ReturnType<typeof declared> =>
  declared('NomadCluster', 'default', { address, auth: { tokenEnv: 'TOKEN' }, ...more }, annotations);

describe('where credentials of ours go', () => {
  const OURS = [
    { tokenEnv: 'TOKEN' },
    { tokenFile: '/etc/hostname' },
    { jwt: { role: 'r', tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token' } },
    { jwt: { role: 'r', tokenFile: '/var/run/secrets/nomad-access.io/../kubernetes.io/serviceaccount/token' } },
    { kubernetes: { role: 'r', tokenFile: '/etc/hostname' } },
    { approle: { roleId: 'r', secretIdEnv: 'TOKEN' } },
    { approle: { roleId: 'r', secretIdFile: '/etc/hostname' } },
  ];

  it.each(OURS)('in Kubernetes %j is not sent where only a resource says', async (auth) => {
    const connected = connect({ kubernetes, env: { TOKEN: 'hunter2' } });
    await connected.declare([vault(auth)]);
    expect(connected.only.refused).toEqual({
      error: `VaultServer default: no credential is sent to ${ELSEWHERE}, because only the VaultServer names that address. If it is right, set VAULT_ADDR to it or add --allow-address ${ELSEWHERE}`,
      reason: 'Denied',
    });
    expect(connected.requests).toEqual([]);
  });

  it.each([{ jwt: { role: 'r' } }, { kubernetes: { role: 'r' } }])(
    'in Kubernetes the token that is made for Vault may go to every VaultServer (%j)',
    async (auth) => {
      const connected = connect({ kubernetes });
      await connected.declare([vault(auth)]);
      expect(connected.only.refused?.error).toMatch(
        /tokenFile\): ENOENT.*\/var\/run\/secrets\/nomad-access\.io\/vault\/token/,
      );
    },
  );

  it.each([
    { jwt: { method: 'm', tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token' } },
    { vault: { vaultRef: 'ours', role: 'r' } },
    { vault: { vaultRef: 'nobody', role: 'r' } },
  ])('in Kubernetes what we log in to Nomad by (%j) is not sent where only a resource says', async (auth) => {
    const connected = connect({ kubernetes, env: { TOKEN: 'hunter2' }, allowed: [ELSEWHERE] });
    const ours = declared('VaultServer', 'ours', { address: ELSEWHERE, auth: { tokenEnv: 'TOKEN' } });
    const address = 'https://nomad.example.com:4646';
    await connected.declare([declared('NomadCluster', 'default', { address, auth }), ours]);
    expect(connected.only.refused?.error).toContain(
      `NomadCluster default: no credential is sent to ${address}, because only the NomadCluster names that address`,
    );
    expect(connected.requests).toEqual([]);
  });

  it.each([
    [{ jwt: { method: 'm' } }, /tokenFile\): ENOENT.*\/var\/run\/secrets\/nomad-access\.io\/nomad\/token/],
    [{ vault: { role: 'r' } }, /tokenFile\): ENOENT.*\/var\/run\/secrets\/nomad-access\.io\/vault\/token/],
  ])(
    'in Kubernetes the tokens that are made for Nomad and Vault may go to every NomadCluster (%j)',
    async (auth, why) => {
      const connected = connect({ kubernetes });
      const address = 'https://nomad.example.com:4646';
      await connected.declare([declared('NomadCluster', 'default', { address, auth }), vault({ jwt: { role: 'r' } })]);
      expect(connected.only.refused?.error).toMatch(why);
    },
  );

  it('in a directory a token of Vault’s secrets engine goes only where the environment says', async () => {
    const connected = connect({ env: { TOKEN: 't' }, allowed: [ELSEWHERE] });
    const address = 'https://nomad.example.com:4646';
    const cluster = declared('NomadCluster', 'default', { address, auth: { vault: { role: 'r' } } });
    await connected.declare([cluster, vault({ tokenEnv: 'TOKEN' })]);
    expect(connected.only.refused?.error).toContain('because only the manifest names that address');
    expect(connected.requests).toEqual([]);
  });

  it('the Vault that gives a credential is remembered as long as what was made with it', async () => {
    const address = 'http://127.0.0.1:1';
    const connected = connect({ env: { TOKEN: 't' }, allowed: [ELSEWHERE, address] });
    const cluster = declared('NomadCluster', 'default', { address, auth: { vault: { role: 'r' } } });
    await connected.declare([cluster, vault({ tokenEnv: 'TOKEN' })]);
    expect(connected.only.refused?.reason).toBe('Unavailable');
    connected.ledger.connect(recordOf(connected.only, (path) => path));
    connected.own('default');
    expect(connected.ledger.connections().map(({ kind }) => kind)).toEqual(['VaultServer', 'NomadCluster']);
  });

  it('in a directory that token is ours like all others: whoever writes manifests need not be an administrator', async () => {
    const connected = connect();
    await connected.declare([vault({ jwt: { role: 'r' } })]);
    expect(connected.only.refused?.error).toContain('because only the manifest names that address');
  });

  it('a proxy’s password from the environment goes only where the environment says, wherever the token is from', async () => {
    const seen: (string | undefined)[] = [];
    const server = createServer(({ headers }, reply) => {
      seen.push(headers.authorization);
      reply.end('{}');
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const address = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const token = Buffer.from('t').toString('base64');
    const secret = { metadata: { name: 's' }, data: { token } };
    const withSecret: KubernetesApi = {
      ...kubernetes,
      follow: (_collection, handler) => {
        handler.replaced([secret as never]);
        return Promise.resolve();
      },
    };
    const auth = { tokenSecretRef: { namespace: 'n', name: 's' } };
    const sentWith = async (env: Record<string, string>): Promise<unknown> => {
      const connected = connect({ kubernetes: withSecret, env: { NOMAD_HTTP_AUTH: 'a:hunter2', ...env } });
      await connected.declare([declared('NomadCluster', 'default', { address, auth })]);
      await connected.opened.io.nomad('default').get('/v1/agent/self');
      return seen.at(-1);
    };
    expect(await sentWith({})).toBeUndefined();
    expect(await sentWith({ NOMAD_ADDR: address })).toMatch(/^Basic /);
    server.closeAllConnections();
    server.close();
  });
});

describe('connections in Kubernetes', () => {
  const BEFORE = 'http://127.0.0.5:4646';
  const AFTER = 'http://127.0.0.2:4646';
  const env = { TOKEN: 't' };
  const allowed = [BEFORE, AFTER];

  async function recorded(options: Partial<OpenOptions> = {}): Promise<Connected> {
    const connected = connect({ kubernetes, env, allowed, ...options });
    await connected.declare([nomad(BEFORE)]);
    connected.own('default');
    expect(connected.ledger.connections().map((c) => c.address)).toEqual([BEFORE]);
    return connected;
  }

  it('an address that was mistyped is corrected like any other field: nothing was made there', async () => {
    const connected = connect({ kubernetes, env, allowed });
    await connected.declare([nomad(BEFORE)]);
    await connected.declare([nomad(AFTER)]);
    expect(connected.only.refused).toBeUndefined();
    expect(connected.only.address).toBe(AFTER);
  });

  it('a changed address is refused; the message has the command that accepts it, and that accepts no other', async () => {
    const connected = await recorded({ accepted: ['default'] });
    await connected.declare([nomad(AFTER)]);
    expect(connected.only.refused?.reason).toBe('AddressChanged');
    expect(connected.only.refused?.error).toContain(
      `kubectl annotate nomadcluster default --overwrite 'nomad-access.io/accept-address-change=${AFTER}'`,
    );
    await connected.declare([nomad(AFTER, { [ACCEPT_ADDRESS_CHANGE]: 'http://127.0.0.3:4646' })]);
    expect(connected.only.refused?.reason).toBe('AddressChanged');
    await connected.declare([nomad(AFTER, { [ACCEPT_ADDRESS_CHANGE]: AFTER })]);
    expect(connected.only.refused).toBeUndefined();
    expect(connected.ledger.connections().map((c) => c.address)).toEqual([AFTER]);
  });

  it('an annotation that is left over accepts no change of the region', async () => {
    const connected = await recorded();
    const left = { [ACCEPT_ADDRESS_CHANGE]: BEFORE };
    await connected.declare([nomad(BEFORE, left, { region: 'eu' })]);
    expect(connected.only.refused?.error).toContain(`accept-address-change=${BEFORE} region=eu'`);
    const accepted = { [ACCEPT_ADDRESS_CHANGE]: `${BEFORE} region=eu` };
    await connected.declare([nomad(BEFORE, accepted, { region: 'eu' })]);
    expect(connected.only.refused).toBeUndefined();
  });

  it('a manifest in a directory accepts nothing by itself', async () => {
    const connected = connect({ env, allowed });
    await connected.declare([nomad(BEFORE)]);
    connected.own('default');
    await connected.declare([nomad(AFTER, { [ACCEPT_ADDRESS_CHANGE]: AFTER })]);
    expect(connected.only.refused?.error).toContain('--accept-address-change default');
  });

  it('one that is not declared any more is retired, and says what to do', async () => {
    const connected = await recorded();
    await connected.declare([]);
    expect(connected.only).toMatchObject({
      isRecorded: true,
      retired: {
        error: 'there is no NomadCluster named default: apply it, or correct spec.nomadRef',
        reason: 'NotFound',
      },
    });
  });

  it('one without grants is for all namespaces, but for nothing that needs a grant; in a directory for everything', async () => {
    const inKubernetes = await recorded();
    expect(inKubernetes.only.grants).toEqual({});
    const inDirectory = connect({ env, allowed });
    await inDirectory.declare([nomad(BEFORE)]);
    expect([inDirectory.only.grants, inDirectory.only.retired]).toEqual([undefined, undefined]);
    await inKubernetes.declare([nomad(BEFORE, {}, { grants: { namespaces: ['a'] } })]);
    expect(inKubernetes.only.grants).toMatchObject({ namespaces: ['a'], managementTokens: false });
  });

  it('each is opened, in use or not; in a directory only those in use', async () => {
    const all = await recorded();
    expect(all.opened.isInUse(all.only)).toBe(true);
    const used = connect({ env, allowed, opensAll: false });
    await used.declare([nomad(BEFORE)]);
    expect(used.opened.isInUse(used.only)).toBe(false);
  });

  it.each([
    ['usable', undefined, {}, [BEFORE]],
    ['refused', 'no credential is sent', {}, []],
    ['refused for want of a variable', 'TOKEN is not set', { TOKEN: '' }, [BEFORE]],
  ])('one that is declared as before and %s as before is the same object', async (_what, error, more, allowedNow) => {
    const connected = connect({ kubernetes, env: { ...env, ...more }, allowed: allowedNow, isStrict: false });
    await connected.declare([nomad(BEFORE)]);
    const before = connected.only;
    if (error === undefined) expect(before.refused).toBeUndefined();
    else expect(before.refused?.error).toContain(error);
    await connected.declare([nomad(BEFORE)]);
    expect(connected.only).toBe(before);
  });

  it('one whose certificate can’t be read is refused before its Secret is followed', async () => {
    const follow = (): never => expect.fail('it is followed');
    const connected = connect({ kubernetes: { ...kubernetes, follow } });
    const auth = { tokenSecretRef: { namespace: 'n', name: 's' } };
    const address = 'https://127.0.0.1:1';
    const tls = { caFile: '/nowhere/ca.pem' };
    await connected.declare([
      declared('NomadCluster', 'default', { address, auth, tls }),
      declared('VaultServer', 'default', { address, auth, tls }),
    ]);
    for (const { refused } of connected.connections) expect(refused?.error).toContain('/nowhere/ca.pem');
  });

  it('an inventory of before still says how to reach what it names', async () => {
    const connected = await recorded();
    const record = recordOf(connected.only, (path) => path);
    expect(JSON.stringify(record)).toContain('"tokenEnv":"TOKEN"');
    expect(JSON.stringify(record)).not.toContain('"grants"');
  });
});

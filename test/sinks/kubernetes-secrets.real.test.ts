import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { KubernetesApi } from '../../src/contract/kubernetes.ts';
import { digestOf, type SecretContent, type StoredSecret } from '../../src/contract/target.ts';
import { openKubernetes, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { KubernetesSecrets } from '../../src/sinks/kubernetes-secrets.ts';
import type { Secret } from '../../src/sinks/secret-marks.ts';
import { requireServers } from '../servers/binaries.ts';
import { startKubernetes, type KubernetesServer } from '../servers/kubernetes.ts';

const SECRETS = '/api/v1/namespaces/default/secrets';
const VALUE = 'c0ffee00-0000-4000-8000-000000000001';
const OTHER = 'c0ffee00-0000-4000-8000-000000000002';
const OWNER = 'aaaaaaaa-0000-4000-8000-000000000003';
const BACKUP = { apiVersion: 'v1', kind: 'ConfigMap', name: 'backup', uid: 'bbbbbbbb-0000-4000-8000-000000000004' };
const CONFLICT = { class: 'transient', status: 409 };

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl'))('Secrets that tokens are written to', () => {
  let server: KubernetesServer;
  let client: KubernetesClient;
  let abort: AbortController;
  let following: Promise<void>;
  let secrets: KubernetesSecrets;
  let told: string[];
  let asked: string[];

  beforeAll(async () => {
    server = await startKubernetes();
    client = await openKubernetes({ kubeconfig: server.kubeconfig });
  });
  afterAll(async () => {
    await client.close();
    await server.stop();
  });
  beforeEach(() => {
    abort = new AbortController();
    told = [];
    asked = [];
    secrets = opened();
    following = secrets.follow(abort.signal);
  });
  afterEach(async () => {
    abort.abort();
    await following;
    await server.kubectl('delete', 'secret', '--all', '-n', 'default');
  });

  function opened(namespaces?: readonly string[]): KubernetesSecrets {
    return new KubernetesSecrets({
      api: counting(client, asked),
      namespaces,
      onChange: (namespace, name) => void told.push(`${namespace}/${name}`),
    });
  }
  const content = (name: string, more: Partial<SecretContent> = {}): SecretContent => ({
    namespace: 'default',
    name,
    data: { accessor_id: 'a', secret_id: VALUE },
    writtenFor: 'ci',
    owner: OWNER,
    ...more,
  });
  const read = (name: string): Promise<StoredSecret | undefined> => secrets.read('default', name);
  const byHand = (name: string): Promise<Secret | undefined> => client.get<Secret>(`${SECRETS}/${name}`);
  const edit = (name: string, body: object): Promise<unknown> => client.patch(`${SECRETS}/${name}`, 'merge', body);
  const foreign = (name: string): Promise<Secret> =>
    client.create(SECRETS, { apiVersion: 'v1', kind: 'Secret', metadata: { name }, data: { a: base64('theirs') } });
  const isTold = (name: string): Promise<void> =>
    vi.waitFor(
      () => {
        expect(told).toContain(`default/${name}`);
      },
      { timeout: 30_000, interval: 50 },
    );
  const isSeen = (name: string, before: StoredSecret): Promise<void> =>
    vi.waitFor(
      async () => {
        expect((await read(name))?.resourceVersion).not.toBe(before.resourceVersion);
      },
      { timeout: 30_000, interval: 50 },
    );

  describe('are made', () => {
    it('with what Kubernetes and people need to know whose they are', async () => {
      await secrets.write(content('made'), undefined);
      expect(await byHand('made')).toMatchObject({
        type: 'Opaque',
        metadata: {
          labels: { 'app.kubernetes.io/managed-by': 'nomad-access' },
          annotations: { 'nomad-access.io/acl-token': 'ci' },
          ownerReferences: [
            {
              apiVersion: 'nomad-access.io/v1alpha1',
              kind: 'AclToken',
              name: 'ci',
              uid: OWNER,
              controller: true,
              blockOwnerDeletion: false,
            },
          ],
        },
        data: { accessor_id: base64('a'), secret_id: base64(VALUE) },
      });
    });

    it('and lose their owner where they shall outlive it', async () => {
      const made = await secrets.write(content('outlives'), undefined);
      await secrets.write(content('outlives', { owner: undefined }), made);
      expect((await byHand('outlives'))?.metadata.ownerReferences ?? []).toEqual([]);
    });

    it('and get other keys in one write, without the former ones', async () => {
      const made = await secrets.write(content('rekeyed'), undefined);
      const data = { accessor_id: null, secret_id: null, id: 'a', token: VALUE };
      await secrets.write(content('rekeyed', { data }), made);
      expect((await byHand('rekeyed'))?.data).toEqual({ id: base64('a'), token: base64(VALUE) });
    });

    it('and removed, for readers at once; and it is no news', async () => {
      const made = await secrets.write(content('removed'), undefined);
      await secrets.remove('default', 'removed', made.uid);
      expect(await read('removed')).toBeUndefined();
      await secrets.remove('default', 'removed', made.uid);
      // Once this is told, all that was before it has been.
      await secrets.write(content('later'), undefined);
      await client.delete(`${SECRETS}/later`);
      await isTold('later');
      expect(told).toEqual(['default/later']);
      expect(await read('removed')).toBeUndefined();
    });
  });

  describe('are read', () => {
    it('from memory, before the watch tells of them and after', async () => {
      const made = await secrets.write(content('kept'), undefined);
      expect(await read('kept')).toEqual(made);
      expect(made).toMatchObject({ writtenFor: 'ci', owners: [OWNER], digests: { secret_id: digestOf(VALUE) } });
      await edit('kept', { metadata: { annotations: { note: 'told' } } });
      await isSeen('kept', made);
      expect(asked).toEqual([`POST ${SECRETS}`]);
      expect(told).toEqual([]);
    });

    it('after a restart from one list, and not one by one', async () => {
      await secrets.write(content('listed'), undefined);
      const restarted = opened(['default']);
      asked.length = 0;
      const second = restarted.follow(abort.signal);
      expect(await restarted.read('default', 'listed')).toMatchObject({ writtenFor: 'ci' });
      expect(asked).toEqual([]);
      abort.abort();
      await second;
    });

    it('without keeping the secret', async () => {
      await secrets.write(content('digested'), undefined);
      const stored = JSON.stringify(await read('digested'));
      expect(stored).toContain(digestOf(VALUE));
      expect(stored).not.toContain(VALUE);
      expect(stored).not.toContain(base64(VALUE));
    });
  });

  describe('are never written over what somebody else', () => {
    it('has made before', async () => {
      const theirs = await foreign('theirs');
      await expect(secrets.write(content('theirs'), undefined)).rejects.toMatchObject(CONFLICT);
      expect(await byHand('theirs')).toEqual(theirs);
    });

    it('has made between the look and the write, nor is that removed', async () => {
      const ours = await secrets.write(content('remade'), undefined);
      await client.delete(`${SECRETS}/remade`);
      const theirs = await foreign('remade');
      await expect(secrets.write(content('remade'), ours)).rejects.toMatchObject(CONFLICT);
      await secrets.remove('default', 'remade', ours.uid);
      expect(await byHand('remade')).toEqual(theirs);
      expect(await read('remade')).toMatchObject({ uid: theirs.metadata.uid, writtenFor: undefined });
    });

    it('changes in the moment of the write', async () => {
      const made = await secrets.write(content('overtaken'), undefined);
      const overtaken = new KubernetesSecrets({
        api: {
          ...counting(client, asked),
          patch: async (path, type, body, signal) => {
            await edit('overtaken', { data: { secret_id: base64(OTHER) }, metadata: { ownerReferences: [BACKUP] } });
            return client.patch(path, type, body, signal);
          },
        },
      });
      await expect(overtaken.write(content('overtaken'), made)).rejects.toMatchObject(CONFLICT);
      expect((await byHand('overtaken'))?.data).toMatchObject({ secret_id: base64(OTHER) });
    });

    it('has changed between the look and the write, until that was looked at', async () => {
      const made = await secrets.write(content('raced'), undefined);
      await edit('raced', { data: { secret_id: base64(OTHER) } });
      await expect(secrets.write(content('raced'), made)).rejects.toMatchObject(CONFLICT);
      const now = await read('raced');
      expect(now?.digests).toMatchObject({ secret_id: digestOf(OTHER) });
      expect((await secrets.write(content('raced'), now)).digests).toEqual(made.digests);
    });
  });

  describe('that somebody has', () => {
    it.each([
      ['edited', { data: { secret_id: base64(OTHER) } }],
      ['robbed of a key', { data: { accessor_id: null } }],
      ['robbed of the label', { metadata: { labels: { 'app.kubernetes.io/managed-by': null } } }],
      ['robbed of the owner', { metadata: { ownerReferences: [BACKUP] } }],
      ['given to another', { metadata: { annotations: { 'nomad-access.io/acl-token': 'another' } } }],
    ])('%s are told of, and put back beside what others have added', async (_what, touch) => {
      const made = await secrets.write(content('touched'), undefined);
      const ownerReferences = [...((await byHand('touched'))?.metadata.ownerReferences ?? []), BACKUP];
      await edit('touched', {
        metadata: { labels: { team: 'a' }, ownerReferences },
        data: { extra: base64('theirs') },
      });
      await isTold('touched');
      await isSeen('touched', made);
      told.length = 0;
      await edit('touched', touch);
      await isTold('touched');
      await secrets.write(content('touched'), await read('touched'));
      const restored = await byHand('touched');
      expect(restored?.metadata.labels).toEqual({ team: 'a', 'app.kubernetes.io/managed-by': 'nomad-access' });
      expect(restored?.data).toEqual({ accessor_id: base64('a'), secret_id: base64(VALUE), extra: base64('theirs') });
      expect(restored?.metadata.ownerReferences?.map(({ uid }) => uid)).toEqual([BACKUP.uid, OWNER]);
      expect(await read('touched')).toMatchObject({ uid: made.uid, writtenFor: 'ci' });
    });

    it('deleted are told of, and made again', async () => {
      const made = await secrets.write(content('deleted'), undefined);
      await client.delete(`${SECRETS}/deleted`);
      await isTold('deleted');
      expect(await read('deleted')).toBeUndefined();
      const again = await secrets.write(content('deleted'), undefined);
      expect(again.uid).not.toBe(made.uid);
      expect(again.digests).toEqual(made.digests);
    });

    it('put under another controller are owned beside it', async () => {
      await secrets.write(content('controlled'), undefined);
      await edit('controlled', { metadata: { ownerReferences: [{ ...BACKUP, controller: true }] } });
      await isTold('controlled');
      const restored = await secrets.write(content('controlled'), await read('controlled'));
      expect(restored.owners).toEqual([BACKUP.uid, OWNER]);
    });

    it('made immutable say what to do, and not the secret', async () => {
      const made = await secrets.write(content('fixed'), undefined);
      await edit('fixed', { immutable: true });
      await isSeen('fixed', made);
      const written = secrets.write(content('fixed', { data: { secret_id: OTHER } }), await read('fixed'));
      await expect(written).rejects.toMatchObject({ class: 'terminal' });
      await expect(written).rejects.toThrow(/is immutable.*delete it/);
      await expect(written).rejects.not.toThrow(OTHER);
    });
  });

  it('lose the reference to an AclToken that is gone when they get a new one', async () => {
    const made = await secrets.write(content('inherited', { owner: BACKUP.uid }), undefined);
    expect((await secrets.write(content('inherited'), made)).owners).toEqual([OWNER]);
  });

  it('that the API server refuses are told of without the secret', async () => {
    const written = secrets.write(content('refused', { data: { 'not a key': VALUE } }), undefined);
    await expect(written).rejects.toMatchObject({ class: 'terminal', status: 422 });
    await expect(written).rejects.not.toThrow(new RegExp(`${VALUE}|${base64(VALUE)}`));
  });
});

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** The same API, with what is asked of it beside what is followed. */
function counting(api: KubernetesApi, asked: string[]): KubernetesApi {
  const count = (what: string): void => void asked.push(what);
  return {
    get: (path, signal) => {
      count(`GET ${path}`);
      return api.get(path, signal);
    },
    list: (collection, signal) => {
      count(`LIST ${collection.path}`);
      return api.list(collection, signal);
    },
    create: (path, body, signal) => {
      count(`POST ${path}`);
      return api.create(path, body, signal);
    },
    replace: (path, body, signal) => {
      count(`PUT ${path}`);
      return api.replace(path, body, signal);
    },
    patch: (path, type, body, signal) => {
      count(`PATCH ${path}`);
      return api.patch(path, type, body, signal);
    },
    delete: (path, preconditions) => {
      count(`DELETE ${path}`);
      return api.delete(path, preconditions);
    },
    follow: (collection, handler, signal) => api.follow(collection, handler, signal),
  };
}

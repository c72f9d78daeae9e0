import { describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import type { CollectionHandler, KubernetesApi, KubernetesObject } from '../../src/contract/kubernetes.ts';
import type { SecretContent } from '../../src/contract/target.ts';
import { KubernetesSecrets } from '../../src/sinks/kubernetes-secrets.ts';
import type { Secret } from '../../src/sinks/secret-marks.ts';

const CONTENT: SecretContent = {
  namespace: 'apps',
  name: 'login',
  data: { secret_id: 'x' },
  writtenFor: 'ci',
  owner: 'owner',
};

function secret(resourceVersion: string, value = 'x', name = 'login'): Secret {
  return {
    metadata: {
      name,
      namespace: 'apps',
      uid: `uid of ${name}`,
      resourceVersion,
      labels: { 'app.kubernetes.io/managed-by': 'nomad-access' },
      annotations: { 'nomad-access.io/acl-token': 'ci' },
    },
    data: { secret_id: Buffer.from(value).toString('base64') },
  };
}

/** An API server that answers and tells when it is said: a real one does both in an order of its own. */
class Scripted {
  readonly told: string[] = [];
  readonly reads: string[] = [];
  readonly secrets: KubernetesSecrets;
  /** What the next write does before it is answered. */
  meanwhile: () => void = () => undefined;
  answer: Secret | TargetError = secret('10');
  #handler: CollectionHandler<Secret> | undefined;

  constructor() {
    const write = <T>(): Promise<T> => {
      this.meanwhile();
      return this.answer instanceof TargetError ? Promise.reject(this.answer) : Promise.resolve(this.answer as T);
    };
    const api: Partial<KubernetesApi> = {
      get: <T>(path: string) => {
        this.reads.push(path);
        return Promise.resolve<T | undefined>(undefined);
      },
      create: write,
      patch: write,
      delete: write,
      follow: <T extends KubernetesObject>(_collection: unknown, handler: CollectionHandler<T>) => {
        this.#handler = handler;
        return new Promise<void>(() => undefined);
      },
    };
    this.secrets = new KubernetesSecrets({
      api: api as KubernetesApi,
      onChange: (namespace, name) => void this.told.push(`${namespace}/${name}`),
    });
  }

  start(...listed: Secret[]): this {
    this.follow();
    this.watch.replaced(listed);
    return this;
  }

  follow(): void {
    void this.secrets.follow(new AbortController().signal);
  }

  get watch(): CollectionHandler<Secret> {
    if (this.#handler === undefined) throw new Error('nothing is followed');
    return this.#handler;
  }

  async versionOf(name = 'login'): Promise<string | undefined> {
    return (await this.secrets.read('apps', name))?.resourceVersion;
  }
}

describe('what is told of Secrets', () => {
  it('at first is no news: nobody has read anything else', async () => {
    const api = new Scripted().start(secret('1'));
    expect(api.told).toEqual([]);
    expect(await api.versionOf()).toBe('1');
  });

  it('by another list is news where it differs, and where something is missing', async () => {
    const api = new Scripted().start(secret('1'), secret('2', 'x', 'same'), secret('3', 'x', 'vanished'));
    api.watch.replaced([secret('4', 'y'), secret('5', 'x', 'same')]);
    expect(api.told.sort()).toEqual(['apps/login', 'apps/vanished']);
    expect([await api.versionOf(), await api.versionOf('same')]).toEqual(['4', '5']);
    expect(api.reads).toEqual([]);
    expect(await api.versionOf('vanished')).toBeUndefined();
    expect(api.reads).toEqual(['/api/v1/namespaces/apps/secrets/vanished']);
  });

  it('of our own write is no news, also before its reply', async () => {
    const api = new Scripted().start();
    api.meanwhile = () => {
      api.watch.changed(secret('10'));
    };
    await api.secrets.write(CONTENT, undefined);
    api.watch.changed(secret('10'));
    expect(api.told).toEqual([]);
  });

  it('of somebody else’s while we write is news once we are through', async () => {
    const api = new Scripted().start();
    api.meanwhile = () => {
      api.watch.changed(secret('10'));
      api.watch.changed(secret('11', 'y'));
    };
    await api.secrets.write(CONTENT, undefined);
    expect(api.told).toEqual(['apps/login']);
    expect(await api.versionOf()).toBe('11');
  });

  it.each(['changed', 'removed'] as const)('and is older than our write (%s) hides nothing of it', async (what) => {
    const api = new Scripted().start(secret('8'));
    api.answer = secret('10');
    await api.secrets.write(CONTENT, { resourceVersion: '8' });
    api.watch[what](secret('9', 'y'));
    expect(await api.versionOf()).toBe('10');
    expect([...api.told, ...api.reads]).toEqual([]);
  });

  it('of what we have removed does not bring it back', async () => {
    const api = new Scripted().start(secret('8'));
    await api.secrets.remove('apps', 'login', 'uid of login');
    api.watch.changed(secret('9', 'y'));
    expect(await api.versionOf()).toBeUndefined();
    api.watch.removed(secret('10'));
    expect(api.told).toEqual([]);
    api.watch.changed({ ...secret('11'), metadata: { ...secret('11').metadata, uid: 'another' } });
    expect(api.told).toEqual(['apps/login']);
  });

  it('is in doubt after a write that failed: it is read again', async () => {
    const api = new Scripted().start(secret('8'));
    api.answer = new TargetError('no reply', { class: 'transient', ambiguous: true });
    await expect(api.secrets.write(CONTENT, { resourceVersion: '8' })).rejects.toThrow('no reply');
    await api.versionOf();
    expect(api.reads).toHaveLength(1);
  });

  it('counts versions as numbers, which get longer', async () => {
    const api = new Scripted().start(secret('9'));
    api.watch.changed(secret('10', 'y'));
    expect(await api.versionOf()).toBe('10');
  });

  it('is not awaited for ever: where they can’t be followed, each is read', async () => {
    const api = new Scripted();
    api.follow();
    api.watch.trouble?.('forbidden');
    await api.versionOf();
    expect(api.reads).toHaveLength(1);
  });
});

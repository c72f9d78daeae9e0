import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { UsageError } from '../../src/contract/errors.ts';
import { loadKubeconfig, type Credentials } from '../../src/kubernetes/kubeconfig.ts';
import { failureOf } from '../http/failure.ts';

describe('a kubeconfig', () => {
  let folder = '';
  const path = (name: string): string => join(folder, name);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
    vi.stubEnv('HOME', folder);
    vi.stubEnv('KUBECONFIG', undefined);
    vi.stubEnv('KUBERNETES_SERVICE_HOST', undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  interface Parts {
    readonly user?: object;
    readonly cluster?: object;
    readonly context?: object;
  }
  /** One context, cluster and user, all of one name. */
  function config(name: string, { user = {}, cluster = {}, context = {} }: Parts = {}): object {
    return {
      'current-context': name,
      contexts: [{ name, context: { cluster: name, user: name, ...context } }],
      clusters: [{ name, cluster: { server: `https://${name}.example:6443`, ...cluster } }],
      users: [{ name, user }],
    };
  }
  function write(file: string, content: object | string): string {
    writeFileSync(path(file), typeof content === 'string' ? content : JSON.stringify(content));
    return path(file);
  }
  async function credentialsOf(parts: Parts): Promise<Credentials> {
    return (await loadKubeconfig({ kubeconfig: write('config', config('a', parts)) })).credentials();
  }
  function inPod(): { root: string } {
    const account = path('pod/var/run/secrets/kubernetes.io/serviceaccount');
    mkdirSync(account, { recursive: true });
    writeFileSync(join(account, 'token'), 'pod-token\n');
    writeFileSync(join(account, 'namespace'), 'operators');
    writeFileSync(join(account, 'ca.crt'), 'pod-ca');
    vi.stubEnv('KUBERNETES_SERVICE_HOST', 'fd00::1');
    vi.stubEnv('KUBERNETES_SERVICE_PORT', '443');
    return { root: path('pod') };
  }

  describe('is found', () => {
    it('where it is named, before all others', async () => {
      vi.stubEnv('KUBECONFIG', write('env', config('env')));
      const access = await loadKubeconfig({ ...inPod(), kubeconfig: write('named', config('named')) });
      expect(access.address).toBe('https://named.example:6443');
    });
    it('by KUBECONFIG, which may name several files; of two of one name the first counts', async () => {
      const first = write('first', config('a', { context: { namespace: 'first' } }));
      const second = write('second', config('a', { context: { namespace: 'second' } }));
      const third = write('third', config('b'));
      vi.stubEnv('KUBECONFIG', [path('missing'), first, second, third].join(delimiter));
      expect(await loadKubeconfig()).toMatchObject({ address: 'https://a.example:6443', namespace: 'first' });
      expect((await loadKubeconfig({ context: 'b' })).address).toBe('https://b.example:6443');
    });
    it('in a pod: its service account, at whatever kind of address', async () => {
      const access = await loadKubeconfig(inPod());
      expect(access).toMatchObject({ address: 'https://[fd00::1]:443', namespace: 'operators' });
      expect(await access.credentials()).toMatchObject({
        headers: { authorization: 'Bearer pod-token' },
        tls: { caCert: 'pod-ca', caOnly: true },
      });
    });
    it('at home, in the end', async () => {
      mkdirSync(path('.kube'));
      write('.kube/config', config('home'));
      expect((await loadKubeconfig()).address).toBe('https://home.example:6443');
    });
  });

  it.each([
    ['of the context', { namespace: 'apps' }, 'apps'],
    ['default', {}, 'default'],
  ])('gives the namespace: %s', async (_name, context, namespace) => {
    expect((await loadKubeconfig({ kubeconfig: write('config', config('a', { context })) })).namespace).toBe(namespace);
  });

  describe('that can not be used is refused with what is wrong:', () => {
    it('there is none', async () => {
      expect((await failureOf(loadKubeconfig(), UsageError)).message).toContain('no kubeconfig');
    });
    it('the file is missing', async () => {
      const error = await failureOf(loadKubeconfig({ kubeconfig: path('missing') }), UsageError);
      expect(error.message).toContain(`cannot read the kubeconfig ${path('missing')}`);
    });
    it('a context that it does not have', async () => {
      const kubeconfig = write('config', config('a'));
      const error = await failureOf(loadKubeconfig({ kubeconfig, context: 'b' }), UsageError);
      expect(error.message).toBe('the kubeconfig has no context b with a cluster; it has: a');
    });
    it('no current context', async () => {
      const kubeconfig = write('config', { ...config('a'), 'current-context': '' });
      expect((await failureOf(loadKubeconfig({ kubeconfig }), UsageError)).message).toContain(
        'no current context: choose one of: a',
      );
    });
    it('a proxy, which would be passed by', async () => {
      const kubeconfig = write('config', config('a', { cluster: { 'proxy-url': 'http://proxy.example' } }));
      expect((await failureOf(loadKubeconfig({ kubeconfig }), UsageError)).message).toContain('proxy-url');
    });
    it.each([
      ['no YAML', 'users:\n- user: {token: hunter2\nclusters: ]', 'the kubeconfig'],
      ['empty', '', 'is empty'],
      ['a cluster without a server', JSON.stringify({ clusters: [{ name: 'a', cluster: {} }] }), 'clusters[0]'],
    ])('%s, without a piece of it', async (_name, text, message) => {
      const error = await failureOf(loadKubeconfig({ kubeconfig: write('config', text) }), UsageError);
      expect(error.message).toContain(message);
      expect(error.message).not.toContain('hunter2');
    });
  });

  describe('gives the credentials of', () => {
    it('a token', async () => {
      expect((await credentialsOf({ user: { token: 'abc' } })).headers).toEqual({ authorization: 'Bearer abc' });
    });
    it('a user name and a password', async () => {
      const { headers } = await credentialsOf({ user: { username: 'me', password: 'pw' } });
      expect(headers).toEqual({ authorization: `Basic ${Buffer.from('me:pw').toString('base64')}` });
    });
    it('client certificates, in files beside it or in itself', async () => {
      write('ca.pem', 'CA');
      write('cert.pem', 'CERT');
      const user = { 'client-certificate': 'cert.pem', 'client-key-data': Buffer.from('KEY').toString('base64') };
      const { tls } = await credentialsOf({ user, cluster: { 'certificate-authority': 'ca.pem' } });
      expect(tls).toMatchObject({ caCert: 'CA', clientCert: 'CERT', clientKey: 'KEY' });
    });
    it('nobody, by plain http: as `kubectl proxy` wants it', async () => {
      expect((await credentialsOf({ cluster: { server: 'http://127.0.0.1:8001' } })).headers).toEqual({});
    });
    it('a server that goes by another name, or is not verified', async () => {
      const cluster = { 'tls-server-name': 'other.example', 'insecure-skip-tls-verify': true };
      expect((await credentialsOf({ cluster })).tls).toMatchObject({
        serverName: 'other.example',
        insecureSkipVerify: true,
      });
    });
    it('a token file beside it, read anew once the old token is refused, by one for all', async () => {
      write('token', 'one\n');
      const access = await loadKubeconfig({
        kubeconfig: write('config', config('a', { user: { tokenFile: 'token' } })),
      });
      const first = await access.credentials();
      write('token', 'two\n');
      expect(first.headers).toEqual({ authorization: 'Bearer one' });
      const [renewed, also] = await Promise.all([access.renewed(first), access.renewed(first)]);
      expect(renewed.headers).toEqual({ authorization: 'Bearer two' });
      expect(also).toBe(renewed);
    });
    it('nobody where a plugin fails: its own words are told', async () => {
      const exec = {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: '/bin/sh',
        args: ['-c', 'echo log in first >&2; exit 1'],
      };
      const access = await loadKubeconfig({ kubeconfig: write('config', config('a', { user: { exec } })) });
      await expect(access.credentials()).rejects.toMatchObject({
        class: 'denied',
        message: 'no credentials for https://a.example:6443: log in first',
      });
    });
    it('a plugin, which is asked once, and again when its token is refused', async () => {
      const credential = '{"kind":"ExecCredential","status":{"token":"t-%s"}}';
      write('plugin', `#!/bin/sh\necho x >> ${path('asked')}\nprintf '${credential}' $(wc -l < ${path('asked')})\n`);
      chmodSync(path('plugin'), 0o755);
      const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: path('plugin') };
      const access = await loadKubeconfig({ kubeconfig: write('config', config('a', { user: { exec } })) });
      const [first] = await Promise.all([access.credentials(), access.credentials()]);
      expect(first.headers).toEqual({ authorization: 'Bearer t-1' });
      expect((await access.renewed(first)).headers).toEqual({ authorization: 'Bearer t-2' });
      expect(readFileSync(path('asked'), 'utf8')).toBe('x\nx\n');
    });
  });
});

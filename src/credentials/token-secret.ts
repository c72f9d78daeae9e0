import type { TokenPlace } from '../contract/credential.ts';
import { TargetError } from '../contract/errors.ts';
import type { KubernetesApi } from '../contract/kubernetes.ts';
import { textIn } from './credential-text.ts';
import type { Secret } from './follow-secret.ts';

/** A Kubernetes Secret that holds a token under one key. It is only ever created: one that is there stays as it is. */
export function tokenSecret(
  api: KubernetesApi,
  { namespace, name, key }: { readonly namespace: string; readonly name: string; readonly key: string },
): TokenPlace {
  const place = `key "${key}" of Secret ${namespace}/${name}`;
  const secrets = `/api/v1/namespaces/${namespace}/secrets`;
  return {
    name: place,
    read: async (signal) => {
      const secret = await api.get<Secret>(`${secrets}/${name}`, signal);
      if (secret === undefined) return undefined;
      const found = textIn(Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8'), place, 'token');
      if ('text' in found) return found.text;
      throw new TargetError(`${found.trouble.error}; delete the Secret to have one made`, { class: 'denied' });
    },
    create: async (token, signal) => {
      const secret = {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name, namespace },
        type: 'Opaque',
        data: { [key]: Buffer.from(token).toString('base64') },
      };
      try {
        await api.create(secrets, secret, signal);
        return true;
      } catch (error) {
        if (error instanceof TargetError && error.status === 409) return false;
        throw error;
      }
    },
  };
}

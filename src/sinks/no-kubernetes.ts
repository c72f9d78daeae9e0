import { TargetError } from '../contract/errors.ts';
import type { KubernetesSecretApi } from '../contract/target.ts';

/** Where no API server is at hand: the directory source, whose manifests may not ask for one. */
export const NO_KUBERNETES: KubernetesSecretApi = {
  read: (namespace, name) => Promise.reject(unreachable(namespace, name)),
  write: ({ namespace, name }) => Promise.reject(unreachable(namespace, name)),
  remove: (namespace, name) => Promise.reject(unreachable(namespace, name)),
};

function unreachable(namespace: string, name: string): TargetError {
  return new TargetError(`the Secret ${namespace}/${name} can only be reached with --source kubernetes`, {
    class: 'dependency',
  });
}

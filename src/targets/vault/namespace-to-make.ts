import { TargetError } from '../../contract/errors.ts';
import type { VaultApi } from '../../contract/target.ts';

/**
 * A namespace that may have to be made first: as long as it is not there, nothing is in it, also where Vault refuses a request
 * into it like one without the right. Whether it is there is asked in the namespace above.
 */
export function namespaceToMake(api: VaultApi, place: { parent: string | undefined; name: string }): VaultApi {
  const { parent, name } = place;
  const isMissing = async (error: unknown): Promise<boolean> => {
    if (!(error instanceof TargetError) || (error.status !== 403 && error.status !== 404)) return false;
    try {
      return (await api.in(parent).read(`sys/namespaces/${name}`)) === undefined;
    } catch {
      return false;
    }
  };
  const unlessMissing = async <T>(request: Promise<T>, nothing: T): Promise<T> => {
    try {
      return await request;
    } catch (error) {
      if (await isMissing(error)) return nothing;
      throw error;
    }
  };
  return {
    address: api.address,
    namespace: api.namespace,
    in: (namespace) => api.in(namespace),
    read: <T>(path: string, signal?: AbortSignal) => unlessMissing(api.read<T>(path, signal), undefined),
    list: (path, signal) => unlessMissing(api.list(path, signal), []),
    delete: (path, signal) => unlessMissing(api.delete(path, signal), undefined),
    async write(path, data, signal) {
      try {
        await api.write(path, data, signal);
      } catch (error) {
        if (!(await isMissing(error))) throw error;
        throw new TargetError(`namespace ${api.namespace ?? name} is not there yet`, {
          class: 'dependency',
          cause: error,
        });
      }
    },
  };
}

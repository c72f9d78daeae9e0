import type { KubernetesApi, KubernetesObject } from '../contract/kubernetes.ts';

export interface Secret extends KubernetesObject {
  /** In base64. */
  readonly data?: Readonly<Record<string, string>>;
}

export interface SecretFollower {
  /** What is there now; undefined: none. */
  readonly told: (secret: Secret | undefined) => void;
  /** Why it can't be followed; undefined: it can again. */
  readonly trouble: (why: string | undefined) => void;
}

/** Follows one Secret until the signal is aborted. Never throws. */
export async function followSecret(
  api: KubernetesApi,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  { told, trouble }: SecretFollower,
  signal: AbortSignal,
): Promise<void> {
  const collection = {
    path: `/api/v1/namespaces/${namespace}/secrets`,
    fieldSelector: `metadata.name=${name}`,
  };
  await api.follow<Secret>(
    collection,
    {
      replaced: (secrets) => {
        told(secrets.find((s) => s.metadata.name === name));
      },
      changed: told,
      removed: () => {
        told(undefined);
      },
      trouble,
    },
    signal,
  );
}

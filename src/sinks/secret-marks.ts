import type { KubernetesObject, ObjectMeta, OwnerReference } from '../contract/kubernetes.ts';
import { API_VERSION, GROUP } from '../contract/resource.ts';
import { digestOf, type SecretContent, type StoredSecret } from '../contract/target.ts';

/** A Secret as the API server has it. */
export interface Secret extends KubernetesObject {
  /** In base64. */
  readonly data?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

/** What is kept of a Secret: nothing of what it holds. */
export interface Kept extends StoredSecret {
  readonly ownerReferences: readonly OwnerReference[];
  readonly isImmutable: boolean;
}

export const MANAGED_BY = { label: 'app.kubernetes.io/managed-by', value: 'nomad-access' } as const;
const WRITTEN_FOR = `${GROUP}/acl-token`;
const OWNER_KIND = 'AclToken';

export function kept({ metadata, data = {}, immutable }: Secret): Kept {
  const { uid = '', resourceVersion = '', ownerReferences = [] } = metadata;
  const digests = Object.entries(data).map(([key, value]): [string, string] => [
    key,
    digestOf(Buffer.from(value, 'base64').toString('utf8')),
  ]);
  return {
    uid,
    resourceVersion,
    digests: Object.fromEntries(digests),
    writtenFor:
      metadata.labels?.[MANAGED_BY.label] === MANAGED_BY.value ? metadata.annotations?.[WRITTEN_FOR] : undefined,
    owners: ownerReferences.map((reference) => reference.uid),
    ownerReferences,
    isImmutable: immutable === true,
  };
}

/** Whether whoever reads the one would do the same with the other. */
export function isAlike(a: Kept, b: Kept): boolean {
  const seen = ({ uid, digests, writtenFor, owners }: Kept): string =>
    JSON.stringify([uid, Object.entries(digests).sort(), writtenFor, [...owners].sort()]);
  return seen(a) === seen(b);
}

/** The metadata of a Secret that we make or change. @param others what owns it already. */
export function metadataOf(
  { writtenFor, owner }: SecretContent,
  others: readonly OwnerReference[] = [],
): Pick<ObjectMeta, 'labels' | 'annotations' | 'ownerReferences'> {
  // An AclToken of former times is gone, and Kubernetes deletes what only the gone own.
  const foreign = others.filter(({ kind, apiVersion }) => kind !== OWNER_KIND || !apiVersion.startsWith(`${GROUP}/`));
  return {
    labels: { [MANAGED_BY.label]: MANAGED_BY.value },
    annotations: { [WRITTEN_FOR]: writtenFor },
    ownerReferences: [
      ...foreign,
      ...(owner === undefined
        ? []
        : [
            {
              apiVersion: API_VERSION,
              kind: OWNER_KIND,
              name: writtenFor,
              uid: owner,
              // There can be only one.
              controller: !foreign.some(({ controller }) => controller === true),
              // Otherwise it would need a right on the AclToken's finalizers.
              blockOwnerDeletion: false,
            },
          ]),
    ],
  };
}

export function inBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

import type { ConnectionReference } from '../contract/kind.ts';
import { idOf, type Resource } from '../contract/resource.ts';
import type { AdoptionPolicy, DeletionPolicy, Desired } from '../plan/step.ts';

/** What every object has of the resource that declares it. */
export type Declared = Pick<Desired, 'resource' | 'adoptionPolicy' | 'deletionPolicy' | 'suspended' | 'source'>;

/** The fields of `managed`, which the spec of every managed kind has. */
interface Managed {
  readonly adoptionPolicy: AdoptionPolicy;
  readonly deletionPolicy: DeletionPolicy;
  readonly suspend: boolean;
}

export function declaredBy(resource: Resource<Managed>): Declared {
  const { adoptionPolicy, deletionPolicy, suspend } = resource.spec;
  return { resource: idOf(resource), adoptionPolicy, deletionPolicy, suspended: suspend, source: resource.source };
}

export function nomadReference({ nomadRef }: { readonly nomadRef: string }): ConnectionReference {
  return { kind: 'NomadCluster', name: nomadRef, path: 'spec.nomadRef' };
}

export function vaultReference({ vaultRef }: { readonly vaultRef: string }): ConnectionReference {
  return { kind: 'VaultServer', name: vaultRef, path: 'spec.vaultRef' };
}

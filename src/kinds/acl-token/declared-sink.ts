import { isAbsolute, join } from 'node:path';
import type { PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import type { Desired, Live, ObjectKey, Owned } from '../../plan/step.ts';
import type { DesiredFields, Fields } from '../../plan/value.ts';
import { ownerOf } from '../marked/marker.ts';
import { kubernetesSecretFields, kubernetesSecretObject, kubernetesSecretRules } from './kubernetes-secret.ts';
import { nomadVariableFields, nomadVariableObject, nomadVariableRules } from './nomad-variable.ts';
import type { AclTokenSpec } from './schema.ts';
import { secretFileFields, secretFileObject, secretFileRules } from './secret-file.ts';
import { keysDetail } from './token-keys.ts';
import { isKvOurs, vaultKvFields, vaultKvObject, vaultKvRules } from './vault-kv.ts';

type Token = Resource<AclTokenSpec>;
type Declared<Name extends keyof AclTokenSpec['writeSecretTo']> = NonNullable<AclTokenSpec['writeSecretTo'][Name]>;

/** What is particular to a sink. */
export interface Sink {
  readonly key: ObjectKey;
  readonly rules: Desired['rules'];
  /** @param accessorId of the token whose secret it shall hold; undefined while that does not exist yet. */
  fields(accessorId: string | undefined): DesiredFields;
  /** What the inventory shall remember beside whose secret it is. */
  detail(found: Live | undefined, owned: Owned | undefined): Fields;
  /** Whether what stands there now is what the inventory has. */
  isOurs(found: Live, owned: Owned): boolean;
  /** Whether the secret alone makes it the same: the rest is put right. */
  readonly isSecretEnough: boolean;
  /** What a user can do where something else is there. */
  readonly advice: string;
  /** Why it must not be written at all. */
  readonly reserved?: string;
}

/** The sink that a token declares; undefined where its secret is kept nowhere. */
export function declaredSink(resource: Token, context: PlanContext): Sink | undefined {
  const { file, kubernetesSecret, vaultKv, nomadVariable } = resource.spec.writeSecretTo;
  if (file !== undefined) return fileSink(resource, context, file);
  if (vaultKv !== undefined) return vaultKvSink(resource, context, vaultKv);
  if (nomadVariable !== undefined) return nomadVariableSink(resource, context, nomadVariable);
  return kubernetesSecret && secretSink(resource, kubernetesSecret);
}

function fileSink(resource: Token, context: PlanContext, { path }: Declared<'file'>): Sink {
  const name = context.pathName(isAbsolute(path) ? path : join(resource.folder, path));
  return {
    key: { connection: 'local', type: secretFileObject.name, name },
    rules: secretFileRules,
    fields: secretFileFields,
    detail: () => ({}),
    isOurs: () => true,
    isSecretEnough: false,
    advice: 'move it away, or name another path',
  };
}

function secretSink({ metadata, spec }: Token, { name, keys }: Declared<'kubernetesSecret'>): Sink {
  return {
    key: { connection: 'local', type: kubernetesSecretObject.name, name: `${metadata.namespace}/${name}` },
    rules: kubernetesSecretRules,
    fields: (accessorId) => kubernetesSecretFields(accessorId, keys, spec.deletionPolicy),
    detail: (found, owned) => ({
      ...keysDetail(keys, found, owned),
      ...(metadata.uid !== undefined && { uid: metadata.uid }),
    }),
    isOurs: isSame,
    isSecretEnough: true,
    advice: 'delete it, or name another Secret',
  };
}

function vaultKvSink(
  resource: Token,
  context: PlanContext,
  { vaultRef, mount, path, keys }: Declared<'vaultKv'>,
): Sink {
  return {
    key: { connection: vaultRef, type: vaultKvObject.name, name: `${mount}/${path}` },
    rules: vaultKvRules,
    fields: (accessorId) => vaultKvFields(accessorId, keys),
    detail: (found, owned) => ({
      ...keysDetail(keys, found, owned),
      owner: ownerOf(context.owner, resource),
    }),
    isOurs: isKvOurs,
    isSecretEnough: true,
    advice: 'delete it there with its metadata, or name another path',
  };
}

function nomadVariableSink(
  { spec }: Token,
  { inventoryAt: inventory }: PlanContext,
  { namespace, path, keys }: Declared<'nomadVariable'>,
): Sink {
  const isReserved = namespace === inventory?.namespace && `${path}/`.startsWith(`${inventory.path}/`);
  return {
    key: { connection: spec.nomadRef, type: nomadVariableObject.name, name: `${namespace}/${path}` },
    rules: nomadVariableRules,
    fields: (accessorId) => nomadVariableFields(accessorId, keys),
    detail: (found, owned) => keysDetail(keys, found, owned),
    isOurs: isSame,
    isSecretEnough: true,
    advice: 'delete it there, or name another path',
    ...(isReserved && { reserved: `the inventory is kept in the variables at ${inventory.path}: name another path` }),
  };
}

function isSame(found: Live, owned: Owned): boolean {
  return found.id === owned.id;
}

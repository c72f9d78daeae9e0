import { manifestNameOf, unlike, type Importable, type Importer, type ImportRequest } from '../../contract/import.ts';
import type { VaultApi } from '../../contract/target.ts';
import { stringIn } from '../../plan/value.ts';
import { byLiveName, secretVariable } from '../imported.ts';
import { readMounts } from '../vault-object/mount.ts';
import { readAccess } from './nomad-access.ts';
import { readLease } from './nomad-lease.ts';
import { SECRETS_MOUNT } from './secrets-mount.ts';

const NEW_TOKEN =
  'Vault does not tell which management token it has: it gets one of its own, and the one that it has stays on Nomad.';

/** Nomad secrets engines, each with its access to Nomad and its leases. */
export const vaultNomadSecretsEngineImporter: Importer = {
  from: 'VaultServer',

  async find(io, request, signal) {
    const api = io.vault(request.connection);
    const mounts = [...(await nomadMounts(api, request, signal))].filter(([path]) => request.isMeant(path));
    const engines = mounts.map(async (mount) => ({
      path: mount[0],
      engine: await importable(api, mount, request, signal),
    }));
    const all = await Promise.all(engines);
    return {
      found: byLiveName(all.flatMap(({ engine }) => engine ?? [])),
      skipped: all
        .filter(({ engine }) => engine === undefined)
        .map(({ path }) => ({
          liveName: path,
          why: 'it has no access to Nomad yet: an engine of this path takes it over',
        })),
    };
  },
};

/**
 * Paths of the Nomad secrets engines, without a slash at the end, and the name of each one's manifest, by which roles name it.
 * @throws TargetError
 */
export async function nomadMounts(
  api: VaultApi,
  { qualifier }: Pick<ImportRequest, 'qualifier'>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const mounts = await readMounts(api, SECRETS_MOUNT.table, signal);
  const paths = Object.entries(mounts)
    .filter(([, { type }]) => type === SECRETS_MOUNT.type)
    .map(([path]) => path.replace(/\/$/, ''));
  const names = new Map<string, string>();
  for (const path of paths.sort()) {
    const name = [path.replaceAll('/', '-'), ...(qualifier === undefined ? [] : [qualifier])].join('-');
    names.set(path, unlike(manifestNameOf(name), new Set(names.values())));
  }
  return names;
}

async function importable(
  api: VaultApi,
  [path, metadataName]: readonly [path: string, name: string],
  { connection, clusters }: ImportRequest,
  signal: AbortSignal,
): Promise<Importable | undefined> {
  const [access, lease] = await Promise.all([readAccess(api, path, signal), readLease(api, path, signal)]);
  if (access === undefined) return undefined;
  const address = stringIn(access, 'access.address');
  const cluster = clusters.find((known) => known.address.replace(/\/$/, '') === address.replace(/\/$/, ''));
  const text = (field: string): Record<string, string> => {
    const value = stringIn(access, `access.${field}`);
    return value === '' ? {} : { [field]: value };
  };
  const variable = secretVariable(metadataName, 'client_key');
  const hasKey = stringIn(access, 'access.clientCert') !== '';
  return {
    liveName: path,
    metadataName,
    nameField: 'path',
    spec: {
      vaultRef: connection,
      nomadRef: cluster?.name ?? clusters[0]?.name ?? 'default',
      path,
      access: {
        ...(cluster?.address !== address && { address }),
        ...text('caCert'),
        ...text('clientCert'),
        ...(hasKey && { clientKey: { env: variable } }),
        maxTokenNameLength: access['access.maxTokenNameLength'],
      },
      lease: { ttl: lease?.['lease.ttl'] ?? 0, maxTtl: lease?.['lease.maxTtl'] ?? 0 },
    },
    notes: [
      NEW_TOKEN,
      ...(hasKey ? [`Vault does not tell spec.access.clientKey: set ${variable}, or name another place.`] : []),
    ],
  };
}

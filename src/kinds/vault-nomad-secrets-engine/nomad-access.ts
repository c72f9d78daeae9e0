import type { ObjectType, SettledDesired } from '../../contract/kind.ts';
import type { Io, VaultApi } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live, Owned } from '../../plan/step.ts';
import type { Fields, Value } from '../../plan/value.ts';
import { secretToWrite } from '../acl-token/held-secret.ts';
import { rememberSent, secretRule, secretsToSend, sentFacts, UNTOLD } from '../secret-source.ts';
import { fromVault, integer, rulesOf, string, text, toVault } from '../vault-object/mapping.ts';
import { readEach } from '../vault-object/read-each.ts';
import { onMount, SECRETS_MOUNT } from './secrets-mount.ts';

const accessFields = {
  'access.address': string('address'),
  'access.caCert': text('ca_cert'),
  'access.clientCert': text('client_cert'),
  'access.maxTokenNameLength': integer('max_token_name_length'),
};

/** The accessor ID of the management token that Vault holds; null where that is not known. */
export const TOKEN = 'access.token';
export const CLIENT_KEY = 'access.clientKey';

export const nomadAccessRules: Readonly<Record<string, FieldRule>> = {
  ...rulesOf(accessFields),
  [CLIENT_KEY]: secretRule,
  [TOKEN]: { compare: 'exact', untold: true },
};

/**
 * How a Nomad secrets engine reaches Nomad; its key's name is the mount's path. It is the place of a management token's secret,
 * which Vault never tells again: the inventory remembers which one was written (`held`), and for which mount.
 */
export const nomadAccessObject: ObjectType = {
  name: 'nomad-access',
  connection: 'VaultServer',
  after: [SECRETS_MOUNT.name],
  rules: nomadAccessRules,

  async read(io, request, signal) {
    const api = io.vault(request.connection);
    const owned = new Map(request.owned.map((o) => [o.key.name, o]));
    return readEach(request, async (path) => {
      const read = await readAccess(api, path, signal);
      return read && liveAccess(read, owned.get(path));
    });
  },

  create: write,
  update: write,

  partOf: ({ connection, name }) => ({ connection, type: SECRETS_MOUNT.name, name }),

  remember: (live) => ({ held: live.fields[TOKEN] ?? null, ...rememberSent(live) }),
};

/** What Vault tells of it: neither the token nor the key. @returns undefined where nothing was written yet. @throws TargetError */
export async function readAccess(api: VaultApi, path: string, signal?: AbortSignal): Promise<Fields | undefined> {
  const data = await api.read<Record<string, Value>>(`${path}/config/access`, signal);
  return data && fromVault(accessFields, data);
}

/** @param held what the inventory has: a write that was not seen through may have left another one there. */
function liveAccess(read: Fields, owned: Owned | undefined): Live {
  const { held = null, sent } = (owned?.state === 'owned' ? owned.detail : undefined) ?? {};
  return holding(read, read['access.clientCert'] !== '', held, sent === undefined ? {} : sentFacts(sent as Fields));
}

function holding(fields: Fields, hasKey: boolean, accessorId: Value, sent: Fields): Live {
  return {
    fields: { ...fields, [CLIENT_KEY]: hasKey ? UNTOLD : '', [TOKEN]: accessorId },
    facts: { accessorId, ...sent },
  };
}

/**
 * Everything at once: Vault keeps what is left out, but for the length of names. Never without a token: with none, Vault
 * bootstraps Nomad itself and keeps the management token that it gets (pathConfigAccessWrite, backend.client).
 */
async function write(io: Io, desired: SettledDesired): Promise<Live> {
  const { key, fields } = desired;
  const [{ accessorId, secretId }, { texts, sent }] = await Promise.all([
    secretToWrite(io, desired),
    secretsToSend(io, fields),
  ]);
  const body = { ...toVault(accessFields, fields), client_key: texts[CLIENT_KEY] ?? '', token: secretId };
  await onMount(io.vault(key.connection).write(`${key.name}/config/access`, body), key.name);
  return holding(fields, texts[CLIENT_KEY] !== undefined, accessorId, sentFacts(sent));
}

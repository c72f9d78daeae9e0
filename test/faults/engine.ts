import { at, one } from './choice.ts';
import { equal } from './equal.ts';
import { declare, declared, isRecorded, withdraw, type Happenings } from './happening.ts';
import { onVault } from './others.ts';
import { POLICIES } from './policies.ts';
import type { Simulation } from './simulation.ts';
import { secretAt, sourceSpec, type SourceSpec } from './sources.ts';
import { checkLiveTokens, tokensOf, type LiveTokens } from './tokens.ts';

/** Vault's Nomad secrets engine in the schedules: its access to Nomad, its roles, and what clients get of it. */

const ENGINE = 'VaultNomadSecretsEngine engine';
/** Path of the mount, and name of the management token. */
const PATH = 'nomad';
const ROLES = ['c0', 'c1'];
const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

interface EngineSpec {
  readonly access: {
    readonly clientKey?: SourceSpec;
    readonly maxTokenNameLength: number;
    readonly global: boolean;
  };
  readonly lease: { readonly ttl: number; readonly maxTtl: number };
  readonly rotation?: LiveTokens['rotation'];
}
interface RoleSpec {
  readonly engine: string;
  readonly type: string;
  readonly policies: readonly string[];
}

export function engineSpec(choice: number): EngineSpec {
  const withKey = { clientCert: PEM, clientKey: sourceSpec(choice >> 3) };
  return {
    access: {
      maxTokenNameLength: 64 * (choice % 3),
      global: (choice >> 1) % 4 === 0,
      ...((choice >> 5) % 3 === 0 && withKey),
    },
    lease: { ttl: 600 * ((choice >> 7) % 3), maxTtl: 3600 },
    ...((choice >> 2) % 2 === 0 && { rotation: { interval: 20, overlap: 6 } }),
  };
}

export function engineRoleSpec(choice: number): RoleSpec {
  if (choice % 5 === 0) return { engine: 'engine', type: 'management', policies: [] };
  return { engine: 'engine', type: 'client', policies: ['elsewhere', at(POLICIES, choice)] };
}

export const engineHappenings: Happenings = {
  editEngine: (s, c) => {
    declare(s, { [ENGINE]: engineSpec(c) });
  },
  removeEngine: (s) => {
    withdraw(s, ENGINE);
  },
  editEngineRole: (s, c) => {
    declare(s, { [`VaultNomadRole ${at(ROLES, c)}`]: engineRoleSpec(c >> 1) });
  },
  removeEngineRole: (s, c) => {
    withdraw(s, `VaultNomadRole ${at(ROLES, c)}`);
  },
  /** Clients get a token of each role, if Vault and Nomad let them. */
  readCreds: async (s) => {
    for (const role of ROLES) {
      const { body } = await onVault(s, 'GET', `${PATH}/creds/${role}`);
      const { lease_id: lease, data } = body as {
        lease_id?: string;
        data?: { accessor_id: string; secret_id: string };
      };
      if (lease === undefined || data === undefined) continue;
      s.leased.set(lease, data.accessor_id);
      s.remember(data.secret_id);
    }
  },
  foreignEngineRoleEdit: async (s, c) => {
    for (const name of one(Object.keys(engineOf(s)?.roles ?? {}), c))
      if (isRecorded(s, `${PATH}/${name}`))
        await onVault(s, 'POST', `${PATH}/role/${name}`, { policies: 'theirs', type: 'client', global: c % 512 > 255 });
  },
  foreignEngineRoleDelete: async (s, c) => {
    for (const name of one(Object.keys(engineOf(s)?.roles ?? {}), c))
      await onVault(s, 'DELETE', `${PATH}/role/${name}`);
  },
  /** But not of its token: Vault does not tell it, so that nobody can notice. */
  foreignAccessEdit: async (s, c) => {
    if (engineOf(s)?.access === undefined || !isRecorded(s, PATH)) return;
    const edits = [
      { address: 'http://theirs' },
      { max_token_name_length: 7 },
      { client_cert: '', client_key: '' },
      { ca_cert: PEM },
    ];
    await onVault(s, 'POST', `${PATH}/config/access`, at(edits, c));
  },
  foreignAccessDelete: async (s) => {
    if (isRecorded(s, PATH)) await onVault(s, 'DELETE', `${PATH}/config/access`);
  },
  foreignLeaseEdit: async (s) => {
    if (isRecorded(s, PATH)) await onVault(s, 'POST', `${PATH}/config/lease`, { ttl: 7, max_ttl: 8 });
  },
  foreignEngineDelete: async (s) => {
    if (!isRecorded(s, PATH)) return;
    if (await forgetLeases(s)) await onVault(s, 'DELETE', `sys/mounts/${PATH}`);
  },
};

interface Engine {
  readonly access?: { readonly token: string; readonly client_key: string; readonly [field: string]: unknown };
  readonly lease?: unknown;
  readonly roles: Readonly<Record<string, unknown>>;
}

/** What Vault has at the path; undefined where there is no mount. */
function engineOf(s: Simulation): Engine | undefined {
  const { secrets } = s.vault.snapshot() as { secrets: Readonly<Record<string, { readonly state: unknown }>> };
  return secrets[PATH]?.state as Engine | undefined;
}

/**
 * What the message of an engine that stays advises: Vault forgets its leases, and the tokens are deleted on Nomad by hand.
 * @returns false where Vault is sealed.
 */
async function forgetLeases(s: Simulation): Promise<boolean> {
  const { status } = await onVault(s, 'PUT', `sys/leases/revoke-force/${PATH}`);
  if (status >= 400) return false;
  for (const { AccessorID } of leasedTokens(s)) s.nomad.acl.tokens.delete(AccessorID);
  s.leased.clear();
  return true;
}

function leasedTokens(s: Simulation): ReturnType<Simulation['nomad']['snapshot']>['tokens'] {
  return s.nomad.snapshot().tokens.filter(({ Name }) => Name.startsWith('vault-'));
}

/**
 * Somebody does as is advised where Vault can't revoke its leases, so that the engine stays though it is declared no more:
 * Nomad has lost a token of them, or the one that Vault acts by, or Vault asks elsewhere.
 */
export async function forgetDeadLeases(s: Simulation): Promise<void> {
  const engine = engineOf(s);
  if (engine === undefined) return;
  const { tokens } = s.nomad.snapshot();
  const alive = new Set(tokens.map(({ AccessorID }) => AccessorID));
  // Of an engine that stays, nobody puts back what others did to it.
  const isMisled = isStaying(s) && engine.access?.['address'] !== 'http://nomad';
  let isDead = isMisled || !tokens.some(({ SecretID }) => SecretID === engine.access?.token);
  for (const [lease, accessorId] of s.leased) {
    const { status } = await onVault(s, 'PUT', 'sys/leases/lookup', { lease_id: lease });
    isDead ||= status === 200 && !alive.has(accessorId);
  }
  if (isDead) await forgetLeases(s);
}

/** An engine that is declared no more stays as it is as long as a role is declared for it: Vault would take that along. */
function isStaying(s: Simulation): boolean {
  return !(ENGINE in s.declaration) && declared(s, 'VaultNomadRole').length > 0;
}

/** Whose management tokens there are for the engine. */
export function engineTokens(s: Simulation): string[] {
  const isThere = isStaying(s) ? tokensOf(s, PATH).length > 0 : ENGINE in s.declaration;
  return isThere ? [PATH] : [];
}

/** The resources that wait: roles of an engine that nobody declares, and that engine. */
export function waitingForEngine(s: Simulation): string[] {
  return isStaying(s) ? ['engine', ...ROLES] : [];
}

/** The declared engine with its roles, which acts by the one management token that lives; or nothing of it. */
export function checkEngine(s: Simulation): void {
  if (isStaying(s)) return;
  const spec = s.declaration[ENGINE] as EngineSpec | undefined;
  const engine = engineOf(s);
  equal('whether there is a secrets engine', engine !== undefined, spec !== undefined);
  if (spec === undefined || engine === undefined) {
    equal('tokens of leases that nobody can revoke any more', leasedTokens(s), []);
    return;
  }
  const { access, lease, rotation } = spec;
  const [newest] = tokensOf(s, PATH);
  equal('how the engine reaches Nomad', engine.access, {
    address: 'http://nomad',
    token: newest?.SecretID,
    max_token_name_length: access.maxTokenNameLength,
    ca_cert: '',
    client_cert: access.clientKey === undefined ? '' : PEM,
    client_key: access.clientKey === undefined ? '' : secretAt(s, access.clientKey),
  });
  checkLiveTokens(s, PATH, { type: 'management', global: access.global, ...(rotation && { rotation }) });
  equal('how long its leases live', engine.lease, { ttl: lease.ttl, max_ttl: lease.maxTtl });
  equal(
    'the roles of the engine',
    engine.roles,
    Object.fromEntries(
      declared<RoleSpec>(s, 'VaultNomadRole').map(([name, { type, policies }]) => [
        name,
        { policies, type, global: false },
      ]),
    ),
  );
}

import { normaliseText } from '../../src/plan/diff.ts';
import { equal } from './equal.ts';
import { checkRoles, linksOf, ROLES, rolesOf, roleSpec, waitingRoles, waitsForRoles } from './roles.ts';
import { Simulation, type Declaration } from './simulation.ts';
import {
  checkForeignSinks,
  declaredAt,
  heldSecrets,
  isScribble,
  onVault,
  prepareSinks,
  remove,
  scribble,
  sinkSpec,
  type SinkSpec,
} from './sinks.ts';
import type { Faults } from './sim-transport.ts';

/** What happens, when: milliseconds of virtual time since the beginning. */
export interface Action {
  readonly at: number;
  readonly what: string;
  /** Chooses among what is possible then; the same number always chooses the same. */
  readonly choice: number;
}

const RULES = ['namespace "a" { policy = "read" }', 'namespace "a" { policy = "write" }', 'node { policy = "read" }\n'];
const POLICIES = ['p0', 'p1', 'p2'];
const TOKENS = ['t0', 't1'];
const DURATION_MS = 60_000;
/** Long enough for every deadline, backoff, sweep and list. */
const CALM_MS = 240_000;

type Happening = (simulation: Simulation, choice: number) => void | Promise<void>;

/** Everything that can happen to the servers, the declaration and the operator. */
export const HAPPENINGS: Readonly<Record<string, Happening>> = {
  editPolicy: (s, c) => {
    s.declare({ ...s.declaration, [`AclPolicy ${at(POLICIES, c)}`]: { rules: at(RULES, c >> 4) } });
  },
  removePolicy: (s, c) => {
    s.declare(without(s.declaration, `AclPolicy ${at(POLICIES, c)}`));
  },
  editToken: (s, c) => {
    s.declare({ ...s.declaration, [`AclToken ${at(TOKENS, c)}`]: tokenSpec(at(TOKENS, c), c >> 4) });
  },
  removeToken: (s, c) => {
    s.declare(without(s.declaration, `AclToken ${at(TOKENS, c)}`));
  },
  editRole: (s, c) => {
    s.declare({ ...s.declaration, [`AclRole ${at(ROLES, c)}`]: roleSpec(POLICIES, c >> 4) });
  },
  removeRole: (s, c) => {
    s.declare(without(s.declaration, `AclRole ${at(ROLES, c)}`));
  },
  editIntegration: (s, c) => {
    s.declare({ ...s.declaration, 'VaultJwtIntegration workloads': integrationSpec(c) });
  },
  removeIntegration: (s) => {
    s.declare(without(s.declaration, 'VaultJwtIntegration workloads'));
  },
  foreignPolicyEdit: (s, c) => {
    const name = at(POLICIES, c);
    if (s.nomad.acl.policies.rows.has(name) && isRecorded(s, name))
      s.nomad.acl.putPolicy(name, { Rules: 'agent { policy = "write" }' });
  },
  foreignPolicyDelete: (s, c) => {
    s.nomad.acl.policies.delete(at(POLICIES, c));
  },
  foreignTokenDelete: (s, c) => {
    for (const { AccessorID } of one(ours(s), c)) s.nomad.acl.tokens.delete(AccessorID);
  },
  foreignTokenEdit: (s, c) => {
    const token = ours(s)[c % Math.max(1, ours(s).length)];
    if (token?.Type === 'client' && isRecorded(s, token.Name))
      s.nomad.acl.putToken({ ...s.nomad.acl.shown(token), Policies: ['hijacked'] });
  },
  foreignAclRoleDelete: (s, c) => {
    for (const { ID } of one(rolesOf(s), c)) s.nomad.acl.roles.delete(ID);
  },
  foreignAclRoleEdit: (s, c) => {
    const [role] = one(rolesOf(s), c);
    if (role === undefined || !isRecorded(s, role.Name)) return;
    const edits = [{ Name: `${role.Name}-of-others` }, { Description: 'theirs' }, { Policies: [{ Name: 'foreign' }] }];
    // What is recorded goes by its ID.
    s.nomad.acl.putRole({ ...role, Policies: [{ Name: 'foreign' }], ...at(edits, c >> 8) });
  },
  foreignRoleEdit: (s) =>
    change(s, 'POST', 'auth/jwt-nomad/role/tasks', { role_type: 'jwt', user_claim: 'x', token_policies: ['root'] }),
  foreignRoleDelete: (s) => change(s, 'DELETE', 'auth/jwt-nomad/role/tasks'),
  foreignVaultPolicyEdit: (s) =>
    change(s, 'POST', 'sys/policies/acl/tasks', { policy: 'path "*" { capabilities = ["sudo"] }' }),
  foreignMountDelete: (s) => change(s, 'DELETE', 'sys/auth/jwt-nomad'),
  foreignSinkEdit: async (s, c) => {
    for (const place of one([...heldSecrets(s).keys()], c))
      if (place.startsWith('/') || isRecorded(s, place)) await scribble(s, place);
  },
  foreignSinkDelete: async (s, c) => {
    for (const place of one([...heldSecrets(s).keys()], c)) await remove(s, place, (c >> 8) % 2 === 0);
  },
  crash: (s) => {
    s.kill();
  },
  start: (s) => {
    s.start();
  },
  clockJump: (s, c) => {
    s.clock.jump((c % 2 === 0 ? 1 : -1) * 3_600_000);
  },
  nomadDown: window('nomad', { isDown: true }),
  vaultDown: window('vault', { isDown: true }),
  nomadDenied: window('nomad', { isDenied: true }),
  vaultDenied: window('vault', { isDenied: true }),
  nomadErrors: window('nomad', { requestLost: 0.1, replyLost: 0.1, errorBefore: 0.1, errorAfter: 0.1 }),
  vaultErrors: window('vault', { requestLost: 0.1, replyLost: 0.1, errorBefore: 0.1, errorAfter: 0.1 }),
  streamTrouble: window('nomad', { streamEnds: 0.3, streamStalls: 0.2, eventTwice: 0.3 }),
  seal: (s, c) => {
    s.vault.seal();
    s.clock.after(500 + (c % 10_000), () => {
      s.vault.unseal();
    });
  },
  /** A snapshot is restored: the index goes back, what was made later is gone. */
  indexReset: (s) => {
    const { store, acl } = s.nomad;
    store.events.length = 0;
    store.index = Math.max(12, Math.floor(store.index * 0.7));
    for (const table of [acl.policies, acl.roles, acl.tokens]) {
      table.lastIndex = Math.min(table.lastIndex, store.index);
      for (const [key, row] of table.rows) {
        if (row.CreateIndex > store.index && !isForeign(key, row)) table.rows.delete(key);
        else row.ModifyIndex = Math.min(row.ModifyIndex, store.index);
      }
    }
    Object.assign(s.faults.nomad, { isDown: true });
    s.clock.after(1000, () => {
      Object.assign(s.faults.nomad, { isDown: false });
    });
  },
};

function isForeign(key: string, row: object): boolean {
  return key === 'foreign' || ('Name' in row && (row.Name === 'foreign' || row.Name === 'Bootstrap Token'));
}

function window(target: 'nomad' | 'vault', change: Partial<Faults>): Happening {
  return (s, c) => {
    const before = Object.fromEntries(Object.keys(change).map((k) => [k, false]));
    const none: Partial<Faults> = Object.fromEntries(
      Object.keys(before).map((k) => [k, typeof change[k as keyof Faults] === 'number' ? 0 : false]),
    );
    Object.assign(s.faults[target], change);
    s.clock.after(500 + (c % 10_000), () => {
      Object.assign(s.faults[target], none);
    });
  };
}

/** Somebody changes what is there, and makes nothing new of that name: that would be theirs. */
async function change(s: Simulation, method: string, path: string, body?: unknown): Promise<void> {
  const { mounts, policies } = s.vault.snapshot() as VaultSnapshot;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const isThere = path.includes('/role/')
    ? mounts['jwt-nomad']?.roles[name]
    : path.includes('/auth/')
      ? mounts[name]
      : policies[name];
  if (isThere !== undefined && isRecorded(s, name)) await onVault(s, method, path, body);
}

/** What is changed before it is recorded that we made it can't be told from what somebody else made: it is a Conflict. */
function isRecorded(s: Simulation, name: string): boolean {
  const entries = s.inventory?.objects.filter((o) => o.key.name === name || o.key.name.endsWith(`/${name}`)) ?? [];
  return entries.length > 0 && entries.every((o) => o.state === 'owned');
}

interface VaultSnapshot {
  readonly mounts: Readonly<
    Record<string, { accessor: string; config: unknown; roles: Record<string, Record<string, unknown>> }>
  >;
  readonly policies: Readonly<Record<string, string>>;
}

function at<T>(items: readonly T[], choice: number): T {
  return items[choice % items.length] as T;
}

/** One of the items, if there are any. */
function one<T>(items: readonly T[], choice: number): T[] {
  return items.length === 0 ? [] : [at(items, choice)];
}

function without(declaration: Declaration, id: string): Declaration {
  return Object.fromEntries(Object.entries(declaration).filter(([key]) => key !== id));
}

function tokenSpec(name: string, choice: number): unknown {
  const writeSecretTo = sinkSpec(name, choice >> 7);
  const life = at(LIVES, choice >> 3);
  if (choice % 7 === 0) return { type: 'management', writeSecretTo, ...life };
  if (choice % 4 === 1) return { roles: [at(ROLES, choice >> 5)], writeSecretTo, ...life };
  return { policies: [at(POLICIES, choice), 'elsewhere'], global: choice % 5 === 0, writeSecretTo, ...life };
}

/** How long tokens live; seconds. */
const LIVES = [
  {},
  { rotation: { interval: 20, overlap: 6 } },
  { rotation: { interval: 25, overlap: 5 }, expirationTtl: 60 },
];

function integrationSpec(choice: number): unknown {
  return {
    jwksUrl: 'http://nomad/.well-known/jwks.json',
    supportedAlgs: choice % 2 === 0 ? ['RS256'] : ['EdDSA', 'RS256'],
    policies: [
      { name: 'tasks', rules: `path "secret/{{accessor}}/${String(choice % 3)}" { capabilities = ["read"] }` },
    ],
    roles: [
      { name: 'tasks', boundAudiences: 'vault.io', tokenPolicies: ['tasks'], tokenTtl: 60 * (1 + (choice % 3)) },
      ...(choice % 4 === 0 ? [{ name: 'extra', boundAudiences: 'vault.io', tokenPolicies: ['tasks'] }] : []),
    ],
  };
}

const MARKED = /^(.*) \[na:/;

function ours(s: Simulation): ReturnType<Simulation['nomad']['snapshot']>['tokens'] {
  const tokens = s.nomad.snapshot().tokens.filter((t) => MARKED.test(t.Name));
  return tokens.sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

/** A random schedule. The same seed makes the same one. */
export function scheduleOf(seed: number): Action[] {
  const { random } = new Simulation(seed ^ 0x5bd1e995);
  const names = Object.keys(HAPPENINGS);
  const actions: Action[] = [];
  for (let left = 4 + random.below(14); left > 0; left--) {
    const action = { at: random.below(DURATION_MS), what: random.pick(names), choice: random.below(1 << 30) };
    actions.push(action);
    // Nobody stays dead.
    if (action.what === 'crash') actions.push({ at: action.at + random.below(5_000), what: 'start', choice: 0 });
  }
  return actions.sort((a, b) => a.at - b.at);
}

/**
 * Runs a schedule, lets calm come, and checks the end.
 * @returns the log of all that happened.
 * @throws AssertionError that says what was not as it must be, with that log.
 */
export async function runSchedule(seed: number, actions: readonly Action[]): Promise<readonly string[]> {
  const s = new Simulation(seed);
  s.nomad.acl.putPolicy('foreign', { Rules: 'operator { policy = "read" }' });
  s.nomad.acl.putRole({ Name: 'foreign', Policies: [{ Name: 'foreign' }] });
  const foreign = s.nomad.acl.putToken({ Name: 'foreign', Type: 'client', Policies: ['foreign'] });
  await prepareSinks(s);
  await onVault(s, 'POST', 'sys/policies/acl/foreign', { policy: 'path "x" { capabilities = ["read"] }' });
  s.declare({
    'AclPolicy p0': { rules: at(RULES, seed) },
    'AclRole r0': roleSpec(POLICIES, seed),
    'AclToken t0': tokenSpec('t0', seed),
    'VaultJwtIntegration workloads': integrationSpec(seed),
  });
  s.start();
  try {
    for (const action of actions) {
      await s.run(Math.max(0, action.at - s.clock.monotonic()));
      s.note(`>>> ${action.what} ${String(action.choice)}`);
      await HAPPENINGS[action.what]?.(s, action.choice);
    }
    await s.run(15_000);
    s.note('>>> calm');
    s.start();
    await s.run(CALM_MS);
    await checkDeclaredSoon(s);
    s.note('>>> nothing is declared any more');
    s.declare({});
    await s.run(CALM_MS);
    checkDeclared(s);
    await s.stop();
    checkForeign(s, foreign.AccessorID);
    checkSecrets(s);
    return s.log;
  } catch (error) {
    if (error instanceof Error) error.message = `seed ${String(seed)}: ${error.message}\n${s.log.join('\n')}`;
    throw error;
  } finally {
    s.end();
  }
}

/** What rotates is now and then on its way from one token to the next. */
async function checkDeclaredSoon(s: Simulation): Promise<void> {
  try {
    checkDeclared(s);
  } catch {
    await s.run(2_000);
    checkDeclared(s);
  }
}

/** The declared state, and not one object more. */
function checkDeclared(s: Simulation): void {
  const { policies } = s.nomad.snapshot();
  const specs = <T>(kind: string): [string, T][] =>
    Object.entries(s.declaration)
      .filter(([id]) => id.startsWith(`${kind} `))
      .map(([id, spec]) => [id.slice(kind.length + 1), spec as T]);
  equal(
    'policies on Nomad',
    Object.fromEntries(policies.filter((p) => p.Name !== 'foreign').map((p) => [p.Name, normaliseText(p.Rules)])),
    Object.fromEntries(specs<{ rules: string }>('AclPolicy').map(([name, { rules }]) => [name, normaliseText(rules)])),
  );
  checkRoles(s);
  const tokens = specs<TokenSpec>('AclToken');
  const waiting = tokens.filter(([, { roles }]) => waitsForRoles(s, roles)).map(([name]) => name);
  const held = heldSecrets(s);
  const wanted = new Map(
    tokens.flatMap(([name, { writeSecretTo }]) => {
      const at = declaredAt(writeSecretTo, tokensOf(s, name)[0]);
      return at === undefined ? [] : [[name, at] as const];
    }),
  );
  // What somebody wrote where no secret was declared is theirs, and a Conflict when one is declared there later: then the
  // former sink keeps its secret too.
  const owned = new Set(s.inventory?.objects.map((o) => o.key.name));
  const isTheirs = (place: string): boolean => isScribble(held.get(place)) && !owned.has(place);
  const inConflict = [...wanted].filter(([, { place }]) => isTheirs(place)).map(([name]) => name);
  const isSettled = (name: string): boolean => !waiting.includes(name);
  equal(
    'whose tokens are on Nomad',
    [...new Set(ours(s).map(baseName))].filter(isSettled).sort(),
    tokens
      .map(([name]) => name)
      .filter(isSettled)
      .sort(),
  );
  for (const [name, spec] of tokens) if (isSettled(name)) checkTokens(s, name, spec, inConflict.includes(name));
  const isChecked = (place: string): boolean =>
    !isTheirs(place) && ![...inConflict, ...waiting].some((name) => place.includes(`/${name}-`));
  equal(
    'what is where secrets go',
    Object.fromEntries([...held].filter(([place]) => isChecked(place))),
    Object.fromEntries(
      [...wanted.values()].flatMap(({ place, content }) => (isChecked(place) ? [[place, content]] : [])),
    ),
  );
  checkIntegration(s);
  // What waits since its making failed is known to be on its way.
  const unmade = new Set([...waitingRoles(s), ...waiting]);
  const recorded = (s.inventory?.objects ?? []).filter((o) => o.state !== 'owned' && !unmade.has(o.resource.name));
  equal('entries of the inventory that are still pending', recorded, []);
}

interface TokenSpec {
  readonly type?: string;
  readonly policies?: string[];
  readonly roles?: string[];
  readonly global?: boolean;
  readonly rotation?: { readonly interval: number; readonly overlap: number };
  readonly writeSecretTo: SinkSpec;
}

type Token = ReturnType<typeof ours>[number];

function baseName({ Name }: Token): string {
  return MARKED.exec(Name)?.[1] ?? '';
}

/** The live tokens of a resource, newest first. */
function tokensOf(s: Simulation, name: string): Token[] {
  const sequence = ({ Name }: Token): number => Number(/\.(\d+)\]$/.exec(Name)?.[1]);
  return ours(s)
    .filter((token) => baseName(token) === name)
    .sort((a, b) => sequence(b) - sequence(a));
}

/** How late a rotation may be: a look at the sink, and a list where the stream was lost; seconds. */
const LATE = 20;

/** One token, and the one before it while its overlap lasts; all of them are as declared. */
function checkTokens(s: Simulation, name: string, spec: TokenSpec, isInConflict: boolean): void {
  const live = tokensOf(s, name);
  const { type = 'client', policies = [], roles = [], global = false } = spec;
  const wanted = { type, policies, roles, global };
  const [newest] = live;
  const { rotation } = spec;
  // Nothing of a resource is deleted as long as its secret can't be written.
  if (newest === undefined || (rotation !== undefined && isInConflict)) return;
  const kept = rotation === undefined ? live : live.slice(0, 1);
  const held = kept.map((t) => ({
    type: t.Type,
    policies: t.Policies ?? [],
    roles: linksOf(s, t.Roles),
    global: t.Global,
  }));
  equal(`the token ${name}`, held, [wanted]);
  if (rotation === undefined) return;
  const age = (s.clock.now() - Date.parse(newest.CreateTime)) / 1000;
  // Of what was made before the clock was set back, nobody can tell the age.
  if (age >= 0 && age > rotation.interval + LATE) throw new Error(`token ${name} was not rotated for ${String(age)}s`);
  const most = age >= 0 && age <= rotation.overlap + LATE ? 2 : 1;
  if (live.length > most)
    throw new Error(`${String(live.length)} tokens ${name} live ${String(age)}s after a rotation`);
}

interface IntegrationSpec {
  readonly supportedAlgs: string[];
  readonly policies: { rules: string }[];
  readonly roles: { name: string; tokenTtl?: number }[];
}

function checkIntegration(s: Simulation): void {
  const { mounts, policies } = s.vault.snapshot() as VaultSnapshot;
  const spec = s.declaration['VaultJwtIntegration workloads'] as IntegrationSpec | undefined;
  const mount = mounts['jwt-nomad'];
  equal('whether there is a mount', mount !== undefined, spec !== undefined);
  if (spec === undefined || mount === undefined) {
    equal('policies on Vault', Object.keys(policies).sort(), ['default', 'foreign']);
    return;
  }
  equal('the algorithms', (mount.config as { jwt_supported_algs: string[] }).jwt_supported_algs, spec.supportedAlgs);
  equal('the policy', policies['tasks']?.trim(), spec.policies[0]?.rules.replace('{{accessor}}', mount.accessor));
  const roles = Object.entries(mount.roles).map(([name, role]) => [
    name,
    role['token_ttl'],
    role['user_claim'],
    role['token_policies'],
  ]);
  equal(
    'the roles',
    sorted(roles),
    sorted(spec.roles.map((role) => [role.name, role.tokenTtl ?? 0, '/nomad_job_id', ['tasks']])),
  );
}

function checkForeign(s: Simulation, accessorId: string): void {
  const { policies, tokens } = s.nomad.snapshot();
  equal('the foreign policy', policies.find((p) => p.Name === 'foreign')?.Rules, 'operator { policy = "read" }');
  equal(
    'the foreign role',
    s.nomad.acl.roles.sorted().flatMap(({ Name, Policies }) => (Name === 'foreign' ? [Policies] : [])),
    [[{ Name: 'foreign' }]],
  );
  equal('the foreign token', tokens.find((t) => t.AccessorID === accessorId)?.Policies, ['foreign']);
  equal(
    'the bootstrap token',
    tokens.some((t) => t.Name === 'Bootstrap Token'),
    true,
  );
  checkForeignSinks(s);
  const vault = (s.vault.snapshot() as VaultSnapshot).policies;
  equal('the foreign policy on Vault', vault['foreign'], 'path "x" { capabilities = ["read"] }');
}

function checkSecrets(s: Simulation): void {
  const everything = `${s.said.join('\n')}${JSON.stringify(s.inventory ?? {})}`;
  equal(
    'secrets in what was said and stored',
    s.secrets.filter((secret) => everything.includes(secret)),
    [],
  );
}

function sorted<T>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** The shortest schedule that still fails, by leaving out one action after the other. */
export async function shrink(
  seed: number,
  actions: readonly Action[],
  isFailing = (kept: readonly Action[]): Promise<boolean> => fails(seed, kept),
): Promise<Action[]> {
  let shortest = [...actions];
  for (let i = 0; i < shortest.length;) {
    const shorter = shortest.filter((_, j) => j !== i);
    if (await isFailing(shorter)) shortest = shorter;
    else i++;
  }
  return shortest;
}

async function fails(seed: number, actions: readonly Action[]): Promise<boolean> {
  try {
    await runSchedule(seed, actions);
    return false;
  } catch {
    return true;
  }
}

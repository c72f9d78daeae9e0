import { at, one } from './choice.ts';
import { equal } from './equal.ts';
import { declare, declared, isRecorded, withdraw, type Happenings } from './happening.ts';
import { POLICIES } from './policies.ts';
import { linksOf, ROLES, waitsForRoles } from './roles.ts';
import type { Simulation } from './simulation.ts';
import { declaredAt, heldSecrets, isScribble, sinkSpec, type SinkSpec } from './sinks.ts';

const TOKENS = ['t0', 't1'];

/** How long tokens live; seconds. */
const LIVES = [
  {},
  { rotation: { interval: 20, overlap: 6 } },
  { rotation: { interval: 25, overlap: 5 }, expirationTtl: 60 },
];

export interface Rotation {
  readonly interval: number;
  readonly overlap: number;
}

/** What tokens of a resource shall be, and how they follow one another. */
export interface LiveTokens {
  readonly type?: string;
  readonly policies?: readonly string[];
  readonly roles?: readonly string[];
  readonly global?: boolean;
  readonly rotation?: Rotation;
}

interface TokenSpec extends LiveTokens {
  readonly expirationTtl?: number;
  readonly writeSecretTo: SinkSpec;
}

export function tokenSpec(name: string, choice: number): TokenSpec {
  const writeSecretTo = sinkSpec(name, choice >> 7);
  const life = at<Pick<TokenSpec, 'rotation' | 'expirationTtl'>>(LIVES, choice >> 3);
  if (choice % 7 === 0) return { type: 'management', writeSecretTo, ...life };
  if (choice % 4 === 1) return { roles: [at(ROLES, choice >> 5)], writeSecretTo, ...life };
  return { policies: [at(POLICIES, choice), 'elsewhere'], global: choice % 5 === 0, writeSecretTo, ...life };
}

/** Of every token of ours, whatever it was made for. */
export const foreignTokenHappenings: Happenings = {
  foreignTokenDelete: (s, c) => {
    for (const { AccessorID } of one(ours(s), c)) s.nomad.acl.tokens.delete(AccessorID);
  },
  foreignTokenEdit: (s, c) => {
    const [token] = one(ours(s), c);
    if (token?.Type === 'client' && isRecorded(s, token.Name))
      s.nomad.acl.putToken({ ...s.nomad.acl.shown(token), Policies: ['hijacked'] });
  },
};

export const tokenHappenings: Happenings = {
  ...foreignTokenHappenings,
  editToken: (s, c) => {
    declare(s, { [`AclToken ${at(TOKENS, c)}`]: tokenSpec(at(TOKENS, c), c >> 4) });
  },
  removeToken: (s, c) => {
    withdraw(s, `AclToken ${at(TOKENS, c)}`);
  },
};

const MARKED = /^(.*) \[na:/;
type Token = ReturnType<Simulation['nomad']['snapshot']>['tokens'][number];

function ours(s: Simulation): Token[] {
  const tokens = s.nomad.snapshot().tokens.filter((t) => MARKED.test(t.Name));
  return tokens.sort((a, b) => (a.Name < b.Name ? -1 : 1));
}

function baseName({ Name }: Token): string {
  return MARKED.exec(Name)?.[1] ?? '';
}

/** The live tokens of a resource, newest first. */
export function tokensOf(s: Simulation, name: string): Token[] {
  const sequence = ({ Name }: Token): number => Number(/\.(\d+)\]$/.exec(Name)?.[1]);
  return ours(s)
    .filter((token) => baseName(token) === name)
    .sort((a, b) => sequence(b) - sequence(a));
}

/** The tokens that can't be written, since a role of theirs is not there. */
export function waitingTokens(s: Simulation): string[] {
  return declared<TokenSpec>(s, 'AclToken')
    .filter(([, { roles }]) => waitsForRoles(s, roles))
    .map(([name]) => name);
}

/**
 * The declared tokens with their secrets in their sinks, and not one more.
 * @param others whose tokens there are beside those of AclTokens: their names.
 */
export function checkTokens(s: Simulation, others: readonly string[]): void {
  const tokens = declared<TokenSpec>(s, 'AclToken');
  const waiting = waitingTokens(s);
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
    [...tokens.map(([name]) => name).filter(isSettled), ...others].sort(),
  );
  for (const [name, spec] of tokens) if (isSettled(name)) checkLiveTokens(s, name, spec, inConflict.includes(name));
  const isChecked = (place: string): boolean =>
    !isTheirs(place) && ![...inConflict, ...waiting].some((name) => place.includes(`/${name}-`));
  equal(
    'what is where secrets go',
    Object.fromEntries([...held].filter(([place]) => isChecked(place))),
    Object.fromEntries(
      [...wanted.values()].flatMap(({ place, content }) => (isChecked(place) ? [[place, content]] : [])),
    ),
  );
}

/** How late a rotation may be: a look at the sink, and a list where the stream was lost; seconds. */
const LATE = 20;

/** One token, and the one before it while its overlap lasts; all of them are as declared. */
export function checkLiveTokens(s: Simulation, name: string, spec: LiveTokens, isInConflict = false): void {
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

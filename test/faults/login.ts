import { at, one } from './choice.ts';
import { equal } from './equal.ts';
import { declare, declared, isRecorded, withdraw, type Happenings } from './happening.ts';
import { onNomad } from './others.ts';
import { POLICIES } from './policies.ts';
import { ROLES, waitingRoles } from './roles.ts';
import type { Simulation } from './simulation.ts';
import { secretAt, sourceSpec, type SourceSpec } from './sources.ts';

/** How people log in to Nomad in the schedules: auth methods, and the binding rules of their logins. */

const METHODS = ['m0', 'm1'];
const BINDING_RULES = ['b0', 'b1'];

interface MethodSpec {
  readonly type: string;
  readonly tokenLocality: string;
  readonly maxTokenTtl: number;
  readonly default: boolean;
  readonly config: {
    readonly boundAudiences: readonly string[];
    readonly oidcClientSecret?: SourceSpec;
    readonly oidcClientAssertion?: { readonly privateKey: { readonly pemKey: SourceSpec } };
  };
}
interface RuleSpec {
  readonly authMethod: string;
  readonly description: string;
  readonly selector: string;
  readonly bindType: string;
  readonly bindName?: string;
}

/** By a JWT, or by a provider with a client secret, or by one with that and a key. */
export function methodSpec(choice: number): MethodSpec {
  const provider = { oidcDiscoveryUrl: 'http://sso', oidcClientId: 'nomad' };
  const withSecret = { ...provider, oidcClientSecret: sourceSpec(choice >> 2) };
  const privateKey = { pemKey: sourceSpec(choice >> 4), keyId: 'k' };
  const configs = [
    { jwksUrl: 'http://nomad/.well-known/jwks.json' },
    withSecret,
    { ...withSecret, oidcClientAssertion: { keySource: 'private_key', privateKey } },
  ];
  return {
    type: choice % 3 === 0 ? 'JWT' : 'OIDC',
    tokenLocality: 'local',
    maxTokenTtl: 3600 * (1 + ((choice >> 6) % 2)),
    default: (choice >> 8) % 2 === 0,
    config: { ...at(configs, choice), boundAudiences: [`nomad-${String((choice >> 9) % 3)}`] },
  };
}

export function bindingRuleSpec(name: string, choice: number): RuleSpec {
  const bound = [
    { bindType: 'policy', bindName: at(POLICIES, choice >> 4) },
    { bindType: 'role', bindName: at(ROLES, choice >> 4) },
    { bindType: 'role', bindName: 'team-${value.team}' },
    { bindType: 'management' },
  ];
  return {
    authMethod: at(METHODS, choice),
    description: `${name} ${String((choice >> 7) % 3)}`,
    selector: (choice >> 9) % 2 === 0 ? '' : 'value.team == "a"',
    ...at(bound, choice >> 2),
  };
}

export const loginHappenings: Happenings = {
  /** One method at most is declared to be the default one: two are an error of the manifests. */
  editAuthMethod: (s, c) => {
    const name = at(METHODS, c);
    const spec = methodSpec(c >> 1);
    const others = declared<MethodSpec>(s, 'AclAuthMethod').map(([other, was]) => [
      `AclAuthMethod ${other}`,
      { ...was, default: was.default && !spec.default },
    ]);
    declare(s, { ...(Object.fromEntries(others) as object), [`AclAuthMethod ${name}`]: spec });
  },
  removeAuthMethod: (s, c) => {
    withdraw(s, `AclAuthMethod ${at(METHODS, c)}`);
  },
  editBindingRule: (s, c) => {
    const name = at(BINDING_RULES, c);
    declare(s, { [`AclBindingRule ${name}`]: bindingRuleSpec(name, c >> 1) });
  },
  removeBindingRule: (s, c) => {
    withdraw(s, `AclBindingRule ${at(BINDING_RULES, c)}`);
  },
  foreignAuthMethodEdit: async (s, c) => {
    const [method] = one(methodsOf(s), c);
    if (method === undefined || !isRecorded(s, method.Name)) return;
    const { Name, Default, Config } = method;
    const edits = [
      // Nothing but the time of the write tells of it.
      { Default, Config: { ...Config, OIDCClientSecret: 'theirs' } },
      { Default: !Default },
      { Default, MaxTokenTTL: '30m' },
      { Default, Config: { ...Config, BoundAudiences: ['theirs'] } },
    ];
    await onNomad(s, 'PUT', `acl/auth-method/${Name}`, { Name, ...at(edits, c >> 8) });
  },
  foreignAuthMethodDelete: (s, c) => {
    for (const { Name } of one(methodsOf(s), c)) s.nomad.acl.authMethods.delete(Name);
  },
  foreignBindingRuleEdit: async (s, c) => {
    const [rule] = one(rulesOf(s), c);
    // What is recorded goes by its ID.
    if (rule === undefined || s.inventory?.objects.find((o) => o.id === rule.ID)?.state !== 'owned') return;
    const { ID, Description, Selector } = rule;
    const edits = [
      { Description, Selector: 'value.team == "theirs"' },
      { Description: 'theirs', Selector },
      { Description, Selector, BindType: 'policy', BindName: 'theirs' },
    ];
    await onNomad(s, 'PUT', `acl/binding-rule/${ID}`, at(edits, c >> 8));
  },
  foreignBindingRuleDelete: (s, c) => {
    for (const { ID } of one(rulesOf(s), c)) s.nomad.acl.bindingRules.delete(ID);
  },
};

const FOREIGN_METHOD = { Type: 'JWT', TokenLocality: 'local', MaxTokenTTL: '1h', Config: { JWKSURL: 'http://x' } };
const FOREIGN_RULE = { Description: 'foreign', AuthMethod: 'foreign', BindType: 'role', BindName: 'foreign' };

/** What others have beside ours. */
export async function prepareForeignLogin(s: Simulation): Promise<void> {
  await onNomad(s, 'PUT', 'acl/auth-method', { Name: 'foreign', ...FOREIGN_METHOD });
  await onNomad(s, 'PUT', 'acl/binding-rule', FOREIGN_RULE);
}

export function checkForeignLogin(s: Simulation): void {
  const { authMethods, bindingRules } = s.nomad.acl;
  equal('the foreign auth method', authMethods.rows.get('foreign')?.Config.JWKSURL, 'http://x');
  const foreign = bindingRules.sorted().filter(({ Description }) => Description === 'foreign');
  equal(
    'the foreign binding rule',
    foreign.map(({ AuthMethod, BindName }) => [AuthMethod, BindName]),
    [['foreign', 'foreign']],
  );
}

function methodsOf(s: Simulation): ReturnType<Simulation['nomad']['acl']['authMethods']['sorted']> {
  return s.nomad.acl.authMethods.sorted().filter(({ Name }) => Name !== 'foreign');
}

function rulesOf(s: Simulation): ReturnType<Simulation['nomad']['acl']['bindingRules']['sorted']> {
  return s.nomad.acl.bindingRules.sorted().filter(({ Description }) => Description !== 'foreign');
}

/**
 * The rules that wait, as they are or are not there: nobody declares their method, or the role that they bind is declared
 * and waits itself.
 */
export function waitingBindingRules(s: Simulation): string[] {
  const methods = declared(s, 'AclAuthMethod').map(([name]) => name);
  const roles = waitingRoles(s);
  return declared<RuleSpec>(s, 'AclBindingRule')
    .filter(
      ([, { authMethod, bindType, bindName = '' }]) =>
        !methods.includes(authMethod) || (bindType === 'role' && roles.includes(bindName)),
    )
    .map(([name]) => name);
}

/** The declared methods with the secrets that stand where they say, the declared rules, and not one more. */
export function checkLogin(s: Simulation): void {
  equal(
    'auth methods',
    methodsOf(s).map(({ Name, Type, MaxTokenTTL, Default, Config }) => ({
      name: Name,
      type: Type,
      ttl: MaxTokenTTL,
      default: Default,
      audiences: Config.BoundAudiences,
      secret: Config.OIDCClientSecret,
      key: Config.OIDCClientAssertion?.PrivateKey?.PemKey ?? '',
    })),
    declared<MethodSpec>(s, 'AclAuthMethod')
      .sort()
      .map(([name, { type, maxTokenTtl, config, ...spec }]) => ({
        name,
        type,
        ttl: `${String(maxTokenTtl / 3600)}h0m0s`,
        default: spec.default,
        audiences: config.boundAudiences,
        secret: config.oidcClientSecret === undefined ? '' : secretAt(s, config.oidcClientSecret),
        key: config.oidcClientAssertion === undefined ? '' : secretAt(s, config.oidcClientAssertion.privateKey.pemKey),
      })),
  );
  checkBindingRules(s);
}

function checkBindingRules(s: Simulation): void {
  const waiting = waitingBindingRules(s);
  // One that waits stays with what others did to it.
  const isSettled = (description: string): boolean =>
    !waiting.includes(description.slice(0, 2)) && !(waiting.length > 0 && description === 'theirs');
  const live = rulesOf(s).map(({ Description, AuthMethod, Selector, BindType, BindName }) => ({
    description: Description.replace(/ \[na:[a-z2-7]{16}\.\d+\]$/, ''),
    authMethod: AuthMethod,
    selector: Selector,
    bindType: BindType,
    bindName: BindName,
  }));
  equal(
    'binding rules',
    live.filter(({ description }) => isSettled(description)).sort(byDescription),
    declared<RuleSpec>(s, 'AclBindingRule')
      .map(([, rule]) => ({ bindName: '', ...rule }))
      .filter(({ description }) => isSettled(description))
      .sort(byDescription),
  );
  for (const name of waiting) {
    const { length } = live.filter(({ description }) => description.startsWith(name));
    if (length > 1) throw new Error(`${String(length)} binding rules ${name}`);
  }
}

function byDescription(a: RuleSpec, b: RuleSpec): number {
  return a.description < b.description ? -1 : 1;
}

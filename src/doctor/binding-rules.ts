import { policyNames } from './nomad-references.ts';
import { problem, some, warning, type Found, type NomadCheck } from './check.ts';

interface Rule {
  readonly ID: string;
  readonly AuthMethod: string;
  readonly Selector: string;
  readonly BindType: string;
  readonly BindName: string;
}
interface AuthMethod {
  readonly Config: {
    readonly ClaimMappings?: Readonly<Record<string, string>> | null;
    readonly ListClaimMappings?: Readonly<Record<string, string>> | null;
  } | null;
}
/** What is there; the auth methods with the claims that rules can ask for, as `value.NAME` and `list.NAME`. */
interface Known {
  readonly method: ReadonlyMap<string, ReadonlySet<string>>;
  readonly role: ReadonlySet<string>;
  readonly policy: ReadonlySet<string>;
}

function mappedIn({ Config }: AuthMethod): ReadonlySet<string> {
  const values = Object.values(Config?.ClaimMappings ?? {}).map((name) => `value.${name}`);
  const lists = Object.values(Config?.ListClaimMappings ?? {}).map((name) => `list.${name}`);
  return new Set([...values, ...lists]);
}

/** What a rule asks for, in its selector outside of quoted texts and in its bind name, in the same form. */
function claimsOf({ Selector, BindName }: Rule): string[] {
  const bare = Selector.replace(/"(?:[^"\\]|\\.)*"|`[^`]*`/g, ' ');
  const asked = [...bare.matchAll(/(?<![\w./-])(?:value|list)\.\w+/g)].map(([claim]) => claim);
  const named = [...BindName.matchAll(/\$\{(value\.\w+)\}/g)].map(([, claim = '']) => claim);
  return [...new Set([...asked, ...named])];
}

export const bindingRules: NomadCheck = {
  name: 'nomad-binding-rules',
  fine: 'every binding rule has its auth method, asks for claims that are mapped, and binds to what is there',
  async look({ api }, { signal }) {
    const stubs = (await api.list<{ ID: string }>('/v1/acl/binding-rules', {}, signal)).items;
    if (stubs.length === 0) return [];
    const methods = await api.list<{ Name: string }>('/v1/acl/auth-methods', {}, signal);
    const roles = await api.list<{ Name: string }>('/v1/acl/roles', {}, signal);
    const known = {
      method: new Map<string, ReadonlySet<string>>(),
      role: new Set(roles.items.map(({ Name }) => Name)),
      policy: await policyNames(api, signal),
    };
    for (const { Name } of methods.items) {
      const method = await api.get<AuthMethod>(`/v1/acl/auth-method/${encodeURIComponent(Name)}`, {}, signal);
      if (method !== undefined) known.method.set(Name, mappedIn(method.body));
    }
    const found: Found[] = [];
    for (const { ID } of stubs) {
      const rule = (await api.get<Rule>(`/v1/acl/binding-rule/${encodeURIComponent(ID)}`, {}, signal))?.body;
      if (rule !== undefined) found.push(...judged(rule, known));
    }
    return found;
  },
};

function judged(rule: Rule, known: Known): Found[] {
  const { ID, AuthMethod, BindType, BindName } = rule;
  const object = `binding-rule/${ID}`;
  const mapped = known.method.get(AuthMethod);
  if (mapped === undefined)
    return [
      warning(
        object,
        `its auth method ${AuthMethod} was deleted, so that it never applies; it would again if a method of that name were made`,
        `Delete it: nomad acl binding-rule delete ${ID}`,
      ),
    ];
  const unmapped = claimsOf(rule).filter((claim) => !mapped.has(claim));
  if (unmapped.length > 0)
    return [
      warning(
        object,
        `it asks for ${some(unmapped)}, which the auth method ${AuthMethod} maps from no claim, and has no value at any login by it`,
        'Correct the name, or add it to the method: value.NAME stands in claimMappings, list.NAME in listClaimMappings.',
      ),
    ];
  const isTemplate = BindName.includes('${');
  if (isTemplate || (BindType !== 'role' && BindType !== 'policy') || known[BindType].has(BindName)) return [];
  return [
    problem(
      object,
      `it binds to the ${BindType} ${BindName}, which does not exist: logins by ${AuthMethod} that match it get nothing, or are refused`,
      `Make the ${BindType} ${BindName}, or change the rule.`,
    ),
  ];
}

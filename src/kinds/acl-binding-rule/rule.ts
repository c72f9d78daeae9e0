import type { ObjectType, ReadRequest } from '../../contract/kind.ts';
import type { NomadApi, NomadList } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live } from '../../plan/step.ts';
import { stringIn, type Fields } from '../../plan/value.ts';
import { markedName, markerOf } from '../marked/marker.ts';
import { madeUnnoticed, type MarkedType } from '../marked/match.ts';
import { explained, type Refusals } from '../refusal.ts';
import { arrived, removed } from '../replication.ts';

/** A binding rule as Nomad lists it: without what it binds. */
interface RuleStub {
  readonly ID: string;
  readonly Description: string;
  readonly AuthMethod: string;
  readonly ModifyIndex: number;
}

interface Rule extends RuleStub {
  readonly Selector: string;
  readonly BindType: string;
  readonly BindName: string;
}

const rights = {
  authMethod: { compare: 'exact' },
  selector: { compare: 'exact' },
  bindType: { compare: 'exact' },
  bindName: { compare: 'exact' },
} satisfies Record<string, FieldRule>;

/** How the fields of a rule are compared. */
export const ruleFieldRules: Readonly<Record<string, FieldRule>> = { description: { compare: 'exact' }, ...rights };

export const markedRule: MarkedType = {
  noun: 'binding rule',
  markedField: 'description',
  rules: ruleFieldRules,
  keyName: ({ fields }) => {
    const method = stringIn(fields, 'authMethod');
    const marker = markerOf(stringIn(fields, 'description'));
    return marker === undefined ? method : markedName(method, marker);
  },
  rights,
  needsReplacement: ({ fields }, wanted) => fixedFields(fields, wanted).length > 0,
};

/** What Nomad does not change in place: it takes an empty name for "as it was", and management has none. */
export function fixedFields(live: Fields, wanted: Fields): string[] {
  const becomesManagement = wanted['bindType'] === 'management' && live['bindName'] !== '';
  return [
    ...(live['authMethod'] !== wanted['authMethod'] ? ['authMethod'] : []),
    ...(becomesManagement ? ['bindType', 'bindName'] : []),
  ];
}

const LIST = '/v1/acl/binding-rules';

/** A Nomad ACL binding rule. Live objects are kept by ID; the key's name is that of the method with the marker of the description. */
export const bindingRuleObject: ObjectType = {
  name: 'acl-binding-rule',
  connection: 'NomadCluster',
  after: ['acl-policy', 'acl-role', 'acl-auth-method'],
  rules: ruleFieldRules,

  /** One list; a rule is fetched only where its index is not that of what was read before. */
  async read(io, request, signal) {
    const api = io.nomad(request.connection);
    const { items, index } = await listRules(api, signal);
    const named = new Set([...request.desired.map((d) => d.key.name), ...request.owned.map((o) => o.id)]);
    const lives = items
      .filter((stub) => named.has(stub.ID) || markerOf(stub.Description) !== undefined)
      .map(async (stub) => known(stub, request) ?? (await fetchRule(api, stub.ID, signal)));
    const found = (await Promise.all(lives)).filter((live) => live !== undefined);
    return { objects: new Map(found.map((live) => [live.id ?? '', live])), index };
  },

  watch: {
    topic: 'ACLBindingRule',
    list: LIST,
    live: (payload) => liveRule((payload as { ACLBindingRule: Rule }).ACLBindingRule),
  },

  async create(io, { key, fields }) {
    const api = io.nomad(key.connection);
    const reply = api.post<Rule>('/v1/acl/binding-rule', bodyOf(fields));
    return here(api, (await explained(reply, REFUSALS)).body);
  },

  /** The write replaces description and selector; the rest stays as it was where it is empty. */
  async update(io, { key, fields }, live) {
    const id = live.id ?? '';
    const api = io.nomad(key.connection);
    const reply = api.put<Rule>(path(id), { ID: id, ...bodyOf(fields) });
    return here(api, (await explained(reply, REFUSALS)).body);
  },

  async remove(io, { key, live }) {
    return removed(io.nomad(key.connection), path(live.id ?? ''));
  },

  identify: (live) => live.id ?? '',
  keyName: markedRule.keyName,
  index: (live) => markerOf(stringIn(live.fields, 'description'))?.owner,
  find: (owned, live) => (owned.id === undefined ? madeUnnoticed(markedRule, owned, live) : live.get(owned.id)),
};

function here(api: NomadApi, rule: Rule): Promise<Live> {
  return arrived(api, path(rule.ID), liveRule(rule), ruleFieldRules, liveRule);
}

/** Every rule, without what it binds. @throws TargetError */
export function listRules(api: NomadApi, signal: AbortSignal): Promise<NomadList<RuleStub>> {
  return api.list<RuleStub>(LIST, {}, signal);
}

function known(stub: RuleStub, { cached }: ReadRequest): Live | undefined {
  const live = cached(stub.ID);
  return live?.index === stub.ModifyIndex ? live : undefined;
}

/** Undefined where it is gone by now. @throws TargetError */
export async function fetchRule(api: NomadApi, id: string, signal: AbortSignal): Promise<Live | undefined> {
  const reply = await api.get<Rule>(path(id), {}, signal);
  return reply && liveRule(reply.body);
}

function liveRule(rule: Rule): Live {
  return {
    id: rule.ID,
    fields: {
      description: rule.Description,
      authMethod: rule.AuthMethod,
      selector: rule.Selector,
      bindType: rule.BindType,
      bindName: rule.BindName,
    },
    index: rule.ModifyIndex,
  };
}

function bodyOf(fields: Fields): Record<string, unknown> {
  return {
    Description: fields['description'],
    AuthMethod: fields['authMethod'],
    Selector: fields['selector'],
    BindType: fields['bindType'],
    BindName: fields['bindName'],
  };
}

/** The method is not there, or was not just now. */
const REFUSALS: Refusals = [[/ACL auth method .* not found/, 'dependency']];

function path(id: string): string {
  return `/v1/acl/binding-rule/${encodeURIComponent(id)}`;
}

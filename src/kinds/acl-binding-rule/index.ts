import type { Kind, PlanContext } from '../../contract/kind.ts';
import type { Resource } from '../../contract/resource.ts';
import { readable, type Desired, type Live, type ObjectKey, type Unreadable } from '../../plan/step.ts';
import type { Fields } from '../../plan/value.ts';
import { markedName, markerOf, ownerOf } from '../marked/marker.ts';
import { matchMarked } from '../marked/match.ts';
import { imitated, ofAnother } from '../marked/verdicts.ts';
import { declaredBy, nomadReference } from '../declared-by.ts';
import { renamed } from '../renamed.ts';
import { aclBindingRuleImporter } from './import.ts';
import { bindingRuleObject, fixedFields, markedRule, ruleFieldRules } from './rule.ts';
import { aclBindingRuleRules, aclBindingRuleSpec, type AclBindingRuleSpec } from './schema.ts';

type Rule = Resource<AclBindingRuleSpec>;
type Base = Omit<Desired, 'key' | 'fields' | 'rules' | 'live'>;

export const aclBindingRule: Kind<AclBindingRuleSpec> = {
  kind: 'AclBindingRule',
  plural: 'aclbindingrules',
  shortNames: ['aclrule'],
  scope: 'Namespaced',
  description: 'One Nomad ACL binding rule: which roles or policies somebody gets who logs in by an auth method.',
  spec: aclBindingRuleSpec,
  rules: aclBindingRuleRules,
  printerColumns: [
    { name: 'Method', type: 'string', jsonPath: '.spec.authMethod' },
    { name: 'Binds', type: 'string', jsonPath: '.spec.bindType' },
    { name: 'Name', type: 'string', jsonPath: '.spec.bindName' },
    { name: 'ID', type: 'string', jsonPath: '.status.live.id', priority: 1, description: 'ID on Nomad' },
    { name: 'Nomad', type: 'string', jsonPath: '.spec.nomadRef', priority: 1 },
  ],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: AclBindingRule
metadata:
  name: platform-team
spec:
  authMethod: sso
  selector: '"platform" in list.roles'
  bindType: role
  bindName: operators
`,
  types: [bindingRuleObject],
  references: (spec) => [nomadReference(spec)],
  objects: (resource, context) =>
    resource.spec.id === undefined ? ownRule(resource, context) : [namedRule(resource, resource.spec.id, context)],
  observes: ({ spec }) => [methodOf(spec)],
  importer: aclBindingRuleImporter,
  status: (_resource, steps) => {
    const live = steps.findLast((s) => s.desired !== undefined && s.key.type === bindingRuleObject.name)?.live;
    return live?.id === undefined ? {} : { id: live.id };
  },
};

function methodOf({ nomadRef, authMethod }: AclBindingRuleSpec): ObjectKey {
  return { connection: nomadRef, type: 'acl-auth-method', name: authMethod };
}

/** What a claim stands in for is known at login only. */
function boundBy({ nomadRef, bindType, bindName }: AclBindingRuleSpec): ObjectKey[] {
  if (bindName === undefined || bindName.includes('$')) return [];
  return [{ connection: nomadRef, type: bindType === 'role' ? 'acl-role' : 'acl-policy', name: bindName }];
}

function wantedFields({ authMethod, selector, bindType, bindName = '' }: AclBindingRuleSpec): Fields {
  return { authMethod, selector, bindType, bindName };
}

function base(resource: Rule, context: PlanContext): Base {
  const { spec } = resource;
  const method = methodOf(spec);
  return {
    ...declaredBy(resource),
    dependsOn: [method, ...boundBy(spec)],
    lacking: context.live(method) === undefined ? [method] : [],
  };
}

/** The rule that stands for the resource, then those that are ours and go next. */
function ownRule(resource: Rule, context: PlanContext): Desired[] {
  const { spec } = resource;
  const { nomadRef: connection } = spec;
  const type = bindingRuleObject.name;
  const owner = ownerOf(context.owner, resource);
  const owned = context.ownedBy(resource).filter((o) => o.key.type === type);
  const liveOf = (id: string): Live | undefined => readable(context.live({ connection, type, name: id }));
  const marked = context.liveBy(connection, type, owner);
  const match = matchMarked(markedRule, owner, spec.authMethod, wantedFields(spec), marked, liveOf, owned);
  const failure = context.failure(connection, type);
  const key = (name: string): ObjectKey => ({ connection, type, name });
  const sequence = markerOf(match.name)?.sequence ?? 1;
  const refusal =
    renamed(resource, context, key(match.name), 'spec.id', ({ name }) => markerOf(name)?.owner === owner) ??
    imitated(markedRule, match);
  const others = match.taken.map((live) => taken(key(markedRule.keyName(live)), live, base(resource, context)));
  const rule: Desired = {
    ...base(resource, context),
    key: key(match.name),
    fields: { ...wantedFields(spec), description: markedName(spec.description, { owner, sequence }) },
    rules: ruleFieldRules,
    live: failure ?? ('live' in match ? match.live : undefined),
    dependsOn: [...base(resource, context).dependsOn, ...others.map((other) => other.key)],
    ...(match.is === 'replaced' && { replaces: { key: key(match.old.name), live: match.old.live } }),
    ...refusal,
  };
  return refusal === undefined ? [rule, ...others] : [rule];
}

/** Declared as it is, so that it is adopted; once the inventory has it, nothing declares it and it is deleted. */
function taken(key: ObjectKey, live: Live, { lacking: _none, ...owner }: Base): Desired {
  return { ...owner, key, fields: live.fields, rules: ruleFieldRules, live, dependsOn: [] };
}

/** A rule that existed before, named by its ID: it carries no marker and is never made. */
function namedRule(resource: Rule, id: string, context: PlanContext): Desired {
  const { spec } = resource;
  const key = { connection: spec.nomadRef, type: bindingRuleObject.name, name: id };
  const live: Live | Unreadable | undefined = context.live(key);
  const wanted = wantedFields(spec);
  const fixed = fixedFields(readable(live)?.fields ?? wanted, wanted);
  const isOurs = context.ownedBy(resource).some((o) => o.key.name === id && o.state === 'owned');
  return {
    ...base(resource, context),
    key,
    fields: { ...wanted, description: spec.description },
    rules: {
      ...ruleFieldRules,
      ...Object.fromEntries(fixed.map((field) => [field, { compare: 'exact', onChange: 'refuse' } as const])),
    },
    live,
    mustExist: true,
    ...(!isOurs && ofAnother(markedRule, readable(live))),
    ...renamed(resource, context, key, 'spec.id', (made) => made.name === id),
  };
}

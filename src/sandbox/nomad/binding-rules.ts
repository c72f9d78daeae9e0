import { randomUUID } from 'node:crypto';
import type { AuthMethod } from './auth-methods.ts';
import { invalidObject, NomadError } from './errors.ts';
import { hashOf } from './hash.ts';
import { selectorProblem } from './selector.ts';
import type { Indexed, Table } from './store.ts';

export interface BindingRule extends Indexed {
  readonly ID: string;
  readonly Description: string;
  readonly AuthMethod: string;
  readonly Selector: string;
  /** `role`, `policy` or `management`. */
  readonly BindType: string;
  readonly BindName: string;
  readonly Hash: string;
  readonly CreateTime: string;
  readonly ModifyTime: string;
}

/**
 * Creates a rule, or changes the one whose ID the body names: then an empty method, bind type or bind name keeps what
 * was, while description and selector are replaced. The method of a rule can't be changed. An equal write changes nothing.
 */
export function putBindingRule(
  rules: Table<BindingRule>,
  methods: Table<AuthMethod>,
  body: Partial<BindingRule>,
  now: string,
): BindingRule {
  const { ID = '', Description = '', Selector = '' } = body;
  const old = rules.rows.get(ID);
  if (ID !== '' && old === undefined) throw new NomadError(400, `cannot find binding rule ${ID}`);
  const method = body.AuthMethod || (old?.AuthMethod ?? '');
  const BindType = body.BindType || (old?.BindType ?? '');
  const BindName = body.BindName || (old?.BindName ?? '');
  if (old !== undefined && method !== old.AuthMethod) {
    throw new NomadError(400, 'cannot update auth method for binding rule, create a new rule instead');
  }
  const selectorIsWrong = selectorProblem(Selector);
  invalidObject('binding rule 0 invalid:', [
    method === '' && 'auth method is missing',
    Buffer.byteLength(Description) > 256 && 'description longer than 256',
    bindProblem(BindType, BindName),
    selectorIsWrong !== undefined && `selector is invalid: ${selectorIsWrong}`,
  ]);
  if (!methods.rows.has(method)) throw new NomadError(400, `ACL auth method ${method} not found`);
  const id = ID === '' ? randomUUID() : ID;
  return rules.putChanged(id, {
    ID: id,
    Description,
    AuthMethod: method,
    Selector,
    BindType,
    BindName,
    Hash: hashOf([id, Description, method, Selector, BindType, BindName]),
    // As Nomad has it: given by whoever writes, and of the year 1 where a change omits it.
    CreateTime: ID === '' ? now : (body.CreateTime ?? '0001-01-01T00:00:00Z'),
    ModifyTime: now,
  });
}

function bindProblem(type: string, name: string): string | false {
  switch (type) {
    case '':
      return 'bind type is missing';
    case 'role':
    case 'policy':
      return name === '' && 'bind name is missing';
    case 'management':
      return name !== '' && 'bind name should be empty';
    default:
      return `unsupported bind type: "${type}"`;
  }
}

/** As the list has it: without what it selects and what it binds to. */
export function bindingRuleStub(rule: BindingRule): unknown {
  const { ID, Description, AuthMethod: method, Hash, CreateIndex, ModifyIndex } = rule;
  return { ID, Description, AuthMethod: method, Hash, CreateIndex, ModifyIndex };
}

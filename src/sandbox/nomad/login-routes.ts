import type { Reply, Request } from '../http.ts';
import type { Acl } from './acl.ts';
import { authMethodStub, putAuthMethod, shownMethod, type MethodBody } from './auth-methods.ts';
import { bindingRuleStub, putBindingRule } from './binding-rules.ts';
import { indexed, list, single, written } from './blocking.ts';
import { NomadError } from './errors.ts';
import { login } from './login.ts';
import { objectIn, route, type Handler, type Route } from './route.ts';
import type { Store, Table } from './store.ts';

/** Everything that logins need: methods, rules, and the login itself. */
export function loginRoutes(store: Store, acl: Acl): Route[] {
  const { authMethods, bindingRules } = acl;
  const now = (): string => new Date(acl.now()).toISOString();
  const putMethod = (r: Request): Reply => {
    const method = putAuthMethod(authMethods, objectIn(r), now());
    return indexed(store.index, shownMethod(method));
  };
  const putRule = (body: { readonly ID?: string }): Reply =>
    indexed(store.index, putBindingRule(bindingRules, authMethods, body, now()));
  const deleted = (table: Table<never>, key: string, missing: string): Reply => {
    if (!table.rows.has(key)) throw new NomadError(500, missing);
    table.delete(key);
    return indexed(store.index);
  };
  const METHOD = /^\/v1\/acl\/auth-method\/(.+)$/;
  const RULE = /^\/v1\/acl\/binding-rule\/(.+)$/;
  const methodList: Handler = (r) => list(store, r, authMethods, () => authMethods.sorted().map(authMethodStub));
  const ruleList: Handler = (r) => list(store, r, bindingRules, () => bindingRules.sorted().map(bindingRuleStub));
  return [
    route('GET', /^\/v1\/acl\/auth-methods$/, methodList, 'anybody'),
    route('PUT', /^\/v1\/acl\/auth-method$/, putMethod),
    route('GET', METHOD, (r, name) => single(store, r, authMethods, name, 'ACL auth-method not found', shownMethod)),
    route('PUT', METHOD, (r, name) => {
      const body: MethodBody = objectIn(r);
      if (body.Name !== name) throw new NomadError(400, 'ACL auth-method name does not match request path');
      return putMethod(r);
    }),
    route('DELETE', METHOD, (_r, name) => deleted(authMethods as never, name, 'ACL auth method not found')),
    route('GET', /^\/v1\/acl\/binding-rules$/, ruleList),
    route('PUT', /^\/v1\/acl\/binding-rule$/, (r) => putRule(objectIn(r))),
    route('GET', RULE, (r, id) => single(store, r, bindingRules, id, 'ACL binding rule not found')),
    route('PUT', RULE, (r, id) => {
      const body: { readonly ID?: string } = objectIn(r);
      if (body.ID && body.ID !== id) throw new NomadError(400, 'ACL binding rule ID does not match request path');
      return putRule({ ...body, ID: id });
    }),
    route('DELETE', RULE, (_r, id) => deleted(bindingRules as never, id, 'ACL binding rule not found')),
    route('PUT', /^\/v1\/acl\/login$/, async (r) => written(await login(acl, objectIn(r))), 'anybody'),
  ];
}

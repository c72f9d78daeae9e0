import { randomBytes, randomUUID } from 'node:crypto';
import type { Request } from '../http.ts';
import type { Capability } from './access.ts';
import { JwtAuth } from './jwt-auth.ts';
import { Leases } from './leases.ts';
import type { NomadReach } from './nomad-engine.ts';
import { SecretsMounts } from './secrets-mounts.ts';
import type { Fields } from './values.ts';

/** A mounted auth method. */
export interface Mount {
  readonly type: string;
  readonly accessor: string;
  readonly uuid: string;
  readonly options: unknown;
  readonly description: string;
  readonly jwt: JwtAuth;
}

/** What one namespace holds. */
export interface Tree {
  readonly mounts: Map<string, Mount>;
  readonly policies: Map<string, string>;
  readonly secrets: SecretsMounts;
  readonly leases: Leases;
}

export type Handler = (tree: Tree, request: Request, match: RegExpExecArray) => unknown;

export interface Route {
  readonly verb: Capability | 'write';
  readonly path: RegExp;
  /** Whoever may ask is decided by the handler. */
  readonly open?: boolean;
  readonly handle: Handler;
}

const DEFAULT_POLICY =
  'path "auth/token/lookup-self" {\n    capabilities = ["read"]\n}\n\npath "auth/token/renew-self" {\n    capabilities = ["update"]\n}\n\npath "auth/token/revoke-self" {\n    capabilities = ["update"]\n}\n';

/** @param hasSecret whether it begins with a KV engine at `secret`, as a server in development mode does. */
export function newTree(reach: NomadReach, now: () => number, hasSecret = true): Tree {
  const leases = new Leases(now);
  return {
    mounts: new Map([['token', newMount('token', null, 'token based credentials')]]),
    policies: new Map([['default', DEFAULT_POLICY]]),
    secrets: new SecretsMounts(leases, reach, now, hasSecret),
    leases,
  };
}

/** Every mount gets an accessor of its own, a new one each time it is enabled. */
export function newMount(type: string, options: unknown, description: string): Mount {
  return {
    type,
    accessor: `auth_${type}_${randomBytes(4).toString('hex')}`,
    uuid: randomUUID(),
    options,
    description,
    jwt: new JwtAuth(),
  };
}

export function bodyOf(request: Request): Fields {
  return typeof request.body === 'object' && request.body !== null ? (request.body as Fields) : {};
}

import { readFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { UsageError } from '../../contract/errors.ts';
import { API_VERSION } from '../../contract/resource.ts';
import { aclAuthMethod } from '../../kinds/acl-auth-method/index.ts';
import { aclBindingRule } from '../../kinds/acl-binding-rule/index.ts';
import type { Output } from '../report.ts';
import type { Terminal } from '../terminal.ts';

/** Where the operator runs, and so who signs for it. */
export const PLATFORMS = ['kubernetes', 'nomad'] as const;

export interface InitAuthOptions {
  readonly for: (typeof PLATFORMS)[number];
  readonly method: string;
  readonly audience: string;
  readonly jwksUrl?: string;
  /** Files with public keys as PEM. */
  readonly publicKey?: readonly string[];
  readonly issuer?: string;
  /** `kubernetes`: NAMESPACE/NAME of the ServiceAccount. */
  readonly serviceAccount?: string;
  /** `nomad`: NAMESPACE/NAME of the job. */
  readonly job?: string;
  readonly maxTokenTtl: string;
  readonly nomadRef: string;
  readonly output: Output;
}

/** Claims, the names under which the rule knows them, and what they must be. */
type Claims = readonly (readonly [claim: string, name: string, value: string])[];

/**
 * Prints the manifests by which the operator logs in to Nomad without a token of its own: an auth method for whoever signs for it,
 * and a binding rule that gives management to it alone. Asks no server.
 * @throws UsageError
 */
export function initAuth(options: InitAuthOptions, terminal: Terminal): number {
  const { nomadRef, method, audience, issuer, maxTokenTtl } = options;
  const claims = claimsOf(options);
  if (options.jwksUrl !== undefined && options.publicKey !== undefined)
    throw new UsageError('give --jwks-url or --public-key, not both: keys come from one place');
  const ref = nomadRef === 'default' ? {} : { nomadRef };
  const keys = (options.publicKey ?? []).map(read);
  const config = {
    ...(keys.length === 0 && { jwksUrl: jwksUrl(options) }),
    ...(keys.length > 0 && { jwtValidationPubKeys: keys }),
    ...(issuer !== undefined && { boundIssuer: [issuer] }),
    boundAudiences: [audience],
    claimMappings: Object.fromEntries(claims.map(([claim, name]) => [claim, name])),
  };
  const selector = claims.map(([, name, value]) => `value.${name} == ${JSON.stringify(value)}`).join(' and ');
  const manifests = [
    manifest(aclAuthMethod, method, { ...ref, type: 'JWT', tokenLocality: 'local', maxTokenTtl, config }),
    manifest(aclBindingRule, method, { ...ref, authMethod: method, selector, bindType: 'management' }),
  ];
  if (options.output === 'json') terminal.out(JSON.stringify({ manifests }, null, 2));
  else terminal.out(`${head(options)}${manifests.map((m) => stringify(m, { lineWidth: 0 })).join('---\n')}`.trimEnd());
  return 0;
}

function claimsOf({ for: platform, serviceAccount, job }: InitAuthOptions): Claims {
  if (platform === 'kubernetes') {
    if (job !== undefined) throw new UsageError('--job makes no sense with --for kubernetes: give --service-account');
    const [namespace, name] = pair('--service-account', serviceAccount ?? 'nomad-access/nomad-access');
    return [['sub', 'sub', `system:serviceaccount:${namespace}:${name}`]];
  }
  if (serviceAccount !== undefined)
    throw new UsageError('--service-account makes no sense with --for nomad: give --job');
  const [namespace, name] = pair('--job', job ?? 'default/nomad-access');
  return [
    ['nomad_namespace', 'namespace', namespace],
    ['nomad_job_id', 'job', name],
  ];
}

function pair(option: string, text: string): readonly [string, string] {
  const [namespace = '', name = '', ...more] = text.split('/');
  if (namespace === '' || name === '' || more.length > 0)
    throw new UsageError(`${option} ${text}: must be NAMESPACE/NAME`);
  return [namespace, name];
}

/** Nomad signs for its jobs; where it is reached is known. */
function jwksUrl({ for: platform, jwksUrl: url }: InitAuthOptions): string {
  if (url !== undefined) return url;
  const address = process.env['NOMAD_ADDR'] ?? '';
  if (platform === 'nomad')
    return `${(address === '' ? 'http://127.0.0.1:4646' : address).replace(/\/$/, '')}/.well-known/jwks.json`;
  throw new UsageError(
    "give --jwks-url, the API server's JWKS as Nomad's servers reach it, or --public-key, a file with the key that it signs ServiceAccount tokens with",
  );
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`--public-key ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @throws UsageError where what was given does not make a valid resource. */
function manifest(
  { kind, spec: schema }: typeof aclAuthMethod | typeof aclBindingRule,
  name: string,
  spec: object,
): object {
  const parsed = schema.safeParse(spec);
  const issue = parsed.error?.issues[0];
  if (issue !== undefined) throw new UsageError(`${kind} ${name}: spec.${issue.path.join('.')} ${issue.message}`);
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec };
}

function head({ method, for: platform }: InitAuthOptions): string {
  const tokenFile = platform === 'nomad' ? ', tokenFile: FILE OF THE TASK’S IDENTITY' : '';
  return `# Apply this once with a management token; it stays declared as long as the operator shall log in by it:
# whoever deletes it on Nomad locks the operator out. Then set in the NomadCluster:
#   auth: { jwt: { method: ${method}${tokenFile} } }
`;
}

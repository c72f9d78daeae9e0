import { describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import { digestOf, type Io, type NomadApi } from '../../src/contract/target.ts';
import { defaultMethodKey } from '../../src/kinds/acl-auth-method/default-method.ts';
import { liveFields, type MethodBody } from '../../src/kinds/acl-auth-method/fields.ts';
import { aclAuthMethod } from '../../src/kinds/acl-auth-method/index.ts';
import { authMethodObject } from '../../src/kinds/acl-auth-method/method.ts';
import { keyOf } from '../../src/kinds/secret-source.ts';
import { keyText, type Live, type PlannedStep } from '../../src/plan/step.ts';
import { settled } from '../../src/plan/value.ts';
import { entry, outline, planned, resource, type Situation } from './planning.ts';

const KEY = { connection: 'default', type: 'acl-auth-method', name: 'ci' };
const SECRET = 'a client secret of thirty-two bytes';
const PLACE = keyOf({ from: 'variable', name: 'NOMAD_ACCESS_SECRET_SSO' });

const JWT = {
  type: 'JWT',
  tokenLocality: 'local',
  maxTokenTtl: '1h',
  config: { jwksUrl: 'https://sso.example.com/jwks' },
};
const OIDC = {
  type: 'OIDC',
  tokenLocality: 'local',
  maxTokenTtl: '90m',
  config: {
    oidcDiscoveryUrl: 'https://sso.example.com',
    oidcClientId: 'nomad',
    oidcClientSecret: { env: 'NOMAD_ACCESS_SECRET_SSO' },
    oidcClientAssertion: { keySource: 'client_secret' },
    expirationLeeway: 60,
    claimMappings: { sub: 'user', email: 'mail' },
  },
};

/** As Nomad tells it: nulls where nothing is, durations in its own spelling, "redacted" for secrets. */
const TOLD: MethodBody = {
  Name: 'ci',
  Type: 'OIDC',
  TokenLocality: 'local',
  TokenNameFormat: '${auth_method_type}-${auth_method_name}',
  MaxTokenTTL: '1h30m0s',
  Default: false,
  Config: {
    OIDCDiscoveryURL: 'https://sso.example.com',
    OIDCClientID: 'nomad',
    OIDCClientSecret: 'redacted',
    OIDCClientAssertion: {
      KeySource: 'client_secret',
      Audience: ['https://sso.example.com'],
      KeyAlgorithm: 'HS256',
      PrivateKey: null,
      ExtraHeaders: null,
      ClientSecret: 'redacted',
    },
    ExpirationLeeway: '1m0s',
    NotBeforeLeeway: '',
    OIDCScopes: null,
    BoundAudiences: [],
    ClaimMappings: { email: 'mail', sub: 'user' },
    ListClaimMappings: null,
  },
};

const told = (more: Partial<MethodBody> = {}): Live => ({
  fields: liveFields({ ...TOLD, ...more }),
  facts: { name: more.Name ?? 'ci', version: 'v1' },
});
const secretIs = (text: string): NonNullable<Situation['live']> => ({
  [keyText(PLACE)]: { fields: { digest: digestOf(text) } },
});
const changed = ([step]: readonly PlannedStep[]): unknown[] => step?.step.changes.map(({ path }) => path) ?? [];

/** A Nomad that keeps what it is sent. */
function nomad(): { io: Io; sent: unknown[] } {
  const sent: unknown[] = [];
  const api: Partial<NomadApi> = {
    arrival: () => Promise.resolve(undefined),
    put: <T>(_path: string, body: unknown) => {
      sent.push(body);
      return Promise.resolve({ body: { ...TOLD, CreateIndex: 5, ModifyIndex: 7, ModifyTime: 'v2' } as T, index: 9 });
    },
  };
  const io: Partial<Io> = {
    nomad: () => api as NomadApi,
    secretSources: { read: () => Promise.resolve(SECRET) },
  };
  return { io: io as Io, sent };
}

describe('an auth method', () => {
  it('with a client secret is taken over where all that Nomad tells is the same, and the secret is written', () => {
    const steps = planned(aclAuthMethod, OIDC, { live: { [keyText(KEY)]: told(), ...secretIs(SECRET) } });
    expect(outline(steps)).toEqual(['update default/acl-auth-method/ci Adopted']);
    expect(changed(steps)).toEqual(['spec.config.oidcClientSecret']);
  });

  it('is sent whole with the secret itself, never with what Nomad tells in its place', async () => {
    const [step] = planned(aclAuthMethod, OIDC, { live: secretIs(SECRET) });
    if (step?.desired === undefined) throw new Error('nothing is desired');
    const { io, sent } = nomad();
    const desired = { ...step.desired, fields: settled(step.desired.fields) };
    const live = await authMethodObject.create?.(io, desired);
    expect(sent).toMatchObject([
      {
        Name: 'ci',
        Default: false,
        MaxTokenTTL: '5400s',
        TokenNameFormat: '${auth_method_type}-${auth_method_name}',
        Config: { OIDCClientSecret: SECRET, ExpirationLeeway: '60s' },
      },
    ]);
    expect(JSON.stringify(sent)).not.toContain('redacted');
    expect(live).toMatchObject({ id: '5', index: 7 });
    for (const text of [SECRET, digestOf(SECRET)]) expect(JSON.stringify(live)).not.toContain(text);
  });

  it('that we wrote is in sync, and is not once the secret, or the method at another’s hand, is another one', async () => {
    const [step] = planned(aclAuthMethod, OIDC, { live: secretIs(SECRET) });
    if (step?.desired === undefined) throw new Error('nothing is desired');
    const desired = { ...step.desired, fields: settled(step.desired.fields) };
    const live = await authMethodObject.create?.(nomad().io, desired);
    if (live === undefined) throw new Error('nothing was made');
    const owned = [entry('AclAuthMethod', KEY, { detail: authMethodObject.remember?.(live) ?? {} })];
    const plan = (situation: Situation['live'], secret: string): string[] =>
      outline(planned(aclAuthMethod, OIDC, { live: { ...situation, ...secretIs(secret) }, owned }));
    expect(plan({ [keyText(KEY)]: live }, SECRET)).toEqual(['noop default/acl-auth-method/ci InSync']);
    expect(plan({ [keyText(KEY)]: live }, 'another one')).toEqual(['update default/acl-auth-method/ci Changed']);
    const written = { ...live, facts: { ...live.facts, version: 'v3' } };
    expect(plan({ [keyText(KEY)]: written }, SECRET)).toEqual(['update default/acl-auth-method/ci Changed']);
  });

  it('waits for a secret that is not there', () => {
    const live = { [keyText(PLACE)]: { error: 'it is not set', reason: 'NotFound' } } as unknown as Situation['live'];
    expect(outline(planned(aclAuthMethod, OIDC, { ...(live && { live }) }))).toEqual([
      'refuse default/acl-auth-method/ci NotFound',
    ]);
  });

  it('takes its secrets in Kubernetes from Secrets alone, elsewhere from anything else', () => {
    const paths = (config: object, metadata: object): unknown => {
      const plain = resource(aclAuthMethod, { ...OIDC, config: { ...OIDC.config, ...config } });
      return aclAuthMethod.check?.({ ...plain, metadata: { ...plain.metadata, ...metadata } }).map(({ path }) => path);
    };
    const secretRef = { oidcClientSecret: { secretRef: { name: 'sso', key: 'secret' } } };
    expect(paths(secretRef, { uid: 'u' })).toEqual([]);
    expect(paths({}, { uid: 'u' })).toEqual(['spec.config.oidcClientSecret.env']);
    expect(paths(secretRef, {})).toEqual(['spec.config.oidcClientSecret.secretRef']);
    expect(paths({}, {})).toEqual([]);
  });
});

describe('the default auth method', () => {
  const spec = { ...JWT, default: true };
  const other = { ...KEY, name: 'other' };
  const standing = { [keyText(other)]: told({ Name: 'other', Default: true }) };

  const theirs = entry('AclAuthMethod', other, {
    resource: { kind: 'AclAuthMethod', namespace: 'default', name: 'other' },
  });

  it('is claimed by whoever declares it', () => {
    expect(outline(planned(aclAuthMethod, spec, {}))).toEqual([
      `noop ${keyText(defaultMethodKey('default'))} InSync`,
      'create default/acl-auth-method/ci New',
    ]);
  });

  it('is left alone where somebody else made it, or it is suspended', () => {
    const suspended = { ...theirs, suspended: true };
    for (const owned of [[], [suspended]]) {
      const step = planned(aclAuthMethod, spec, { live: standing, owned }).at(-1)?.step;
      expect(step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
      expect(step?.message).toContain('auth method other');
    }
  });

  it('is taken after one of ours has been told that it is it no more', () => {
    const owned = [theirs];
    const step = planned(aclAuthMethod, spec, { live: standing, owned }).at(-1);
    expect(step?.step.action).toBe('create');
    expect(step?.dependsOn).toContainEqual(other);
  });
});

describe('a method that Nomad refuses since another one is the default one', () => {
  it('is tried again: nothing may tell when that other one is so no more', async () => {
    const message = 'PUT http://nomad/v1/acl/auth-method/ci: 400 default method already exists: theirs';
    const api: Partial<NomadApi> = {
      put: () => Promise.reject(new TargetError(message, { class: 'terminal', status: 400 })),
    };
    const io: Partial<Io> = { nomad: () => api as NomadApi };
    const step = planned(aclAuthMethod, { ...JWT, default: true }, {}).find(({ key }) => key.type === KEY.type);
    if (step?.desired === undefined) throw new Error('nothing is desired');
    const made = authMethodObject.create?.(io as Io, { ...step.desired, fields: settled(step.desired.fields) });
    await expect(made).rejects.toMatchObject({ class: 'dependency', message });
  });
});

import { describe, expect, it } from 'vitest';
import { vaultNomadSecretsEngine } from '../../src/kinds/vault-nomad-secrets-engine/index.ts';
import { planned } from './planning.ts';

describe('the management token of a secrets engine', () => {
  const reasons = (spec: object): Record<string, string> =>
    Object.fromEntries(planned(vaultNomadSecretsEngine, spec, {}).map(({ key, step }) => [key.type, step.reason]));

  it('is made to be handed over to Vault', () => {
    expect(reasons({})).toMatchObject({ 'acl-token': 'New', 'nomad-access': 'New' });
  });

  it('is not made while it can’t be handed over: nobody would hold the most powerful of tokens', () => {
    const access = { clientCert: '-----BEGIN CERTIFICATE-----', clientKey: { env: 'NOMAD_ACCESS_SECRET_KEY' } };
    expect(reasons({ access })).toMatchObject({ 'acl-token': 'Blocked', 'nomad-access': 'Unavailable' });
  });
});

import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/contract/errors.ts';
import { nomadEnvironment, sameAddress, variableOf, vaultEnvironment } from '../../src/targets/environment.ts';

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('the connection that the environment names', () => {
  it('is the one that nomad and vault would use', () => {
    expect(nomadEnvironment({})).toEqual({ address: 'http://127.0.0.1:4646' });
    expect(vaultEnvironment({})).toEqual({ address: 'https://127.0.0.1:8200' });
    expect(nomadEnvironment({ NOMAD_ADDR: 'https://n:1/', NOMAD_REGION: 'eu', NOMAD_SKIP_VERIFY: 'true' })).toEqual({
      address: 'https://n:1',
      region: 'eu',
      tls: { insecureSkipVerify: true },
    });
    expect(nomadEnvironment({ NOMAD_ADDR: 'unix:///run/nomad@1.sock' }).address).toBe('unix:///run/nomad@1.sock');
    expect(vaultEnvironment({ VAULT_ADDR: 'https://v/prefix', VAULT_NAMESPACE: 'a/b' })).toEqual({
      address: 'https://v/prefix',
      namespace: 'a/b',
    });
  });
  it.each([
    'http://user:hunter2@host:4646',
    'https://user:hunter2@host',
    'http://hunter2@host',
    'user:hunter2@host:4646',
    'http://user:hunter2/@host',
    'https://host/?token=hunter2@',
  ])('never holds a password, and the refusal does not repeat it (%#)', (address) => {
    for (const [variable, read] of [
      ['NOMAD_ADDR', nomadEnvironment],
      ['VAULT_ADDR', vaultEnvironment],
    ] as const) {
      const message = refusal(() => read({ [variable]: address }));
      expect(message).toContain(variable);
      expect(message).not.toContain('hunter2');
    }
  });
  it.each(['localhost:4646', 'ftp://host', 'http://'])('is refused by name where %s is no address', (address) => {
    expect(refusal(() => nomadEnvironment({ NOMAD_ADDR: address }))).toContain(`NOMAD_ADDR is "${address}"`);
  });
  it('tells the variable of each field, so that what is wrong with it is looked for there', () => {
    const text = (field: string): unknown => {
      const name = variableOf('NOMAD', field);
      const read = nomadEnvironment({ [name ?? '']: field === 'address' ? 'http://given' : 'given' });
      return { ...read, ...read.tls }[field.replace('tls.', '')];
    };
    for (const field of ['caCert', 'caFile', 'caPath', 'clientCertFile', 'clientKeyFile', 'serverName'])
      expect(text(`tls.${field}`), field).toBe('given');
    expect([text('address'), text('region')]).toEqual(['http://given', 'given']);
    expect(variableOf('VAULT', 'namespace')).toBe('VAULT_NAMESPACE');
    expect(variableOf('VAULT', 'auth')).toBeUndefined();
  });
  it('is the same in two spellings', () => {
    expect(sameAddress('http://HOST:80/', 'http://host')).toBe(true);
    expect(sameAddress('http://host:81', 'http://host')).toBe(false);
  });
});

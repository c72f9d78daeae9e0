import { describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import type { Io, NomadApi } from '../../src/contract/target.ts';
import { aclPolicyObject, policyHash } from '../../src/kinds/acl-policy/policy.ts';
import { aclTokenObject } from '../../src/kinds/nomad-token/token.ts';
import { entry } from './planning.ts';

/** A Nomad that answers a token of that type as the real one does: with the policies that it may see. */
function nomadFor(type: string | undefined, items: readonly unknown[] = []): { io: Io; asked: string[] } {
  const asked: string[] = [];
  const api = {
    address: 'http://nomad:4646',
    list: (path: string) => {
      asked.push(path);
      return Promise.resolve({ items, index: 7 });
    },
    get: (path: string) => {
      asked.push(path);
      return Promise.resolve(type === undefined ? undefined : { body: { AccessorID: 'a', Type: type }, index: 7 });
    },
  } as unknown as NomadApi;
  return { io: { nomad: () => api } as unknown as Io, asked };
}

const NO_JOB = { 'jobAcl.namespace': '', 'jobAcl.jobId': '', 'jobAcl.group': '', 'jobAcl.task': '' };
const request = { connection: 'default', desired: [], owned: [], cached: () => undefined };
const { signal } = new AbortController();

describe('the list of policies', () => {
  it('is believed from a management token, for one request more', async () => {
    const { io, asked } = nomadFor('management');
    expect((await aclPolicyObject.read(io, request, signal)).index).toBe(7);
    expect(asked).toEqual(['/v1/acl/policies', '/v1/acl/token/self']);
  });
  it('asks once who we are, together with the lists of other types; and anew the next time', async () => {
    const { io, asked } = nomadFor('management');
    const who = (): number => asked.filter((path) => path === '/v1/acl/token/self').length;
    await Promise.all([aclPolicyObject, aclTokenObject].map((type) => type.read(io, request, signal)));
    expect(who()).toBe(1);
    await aclPolicyObject.read(io, request, signal);
    expect(who()).toBe(2);
  });
  it('tells by its hash that what we wrote is still there, whatever is declared by now', async () => {
    const fields = { description: 'd', rules: 'x', ...NO_JOB };
    const stub = { Name: 'ci', Description: 'd', Hash: policyHash('ci', fields), CreateIndex: 3, ModifyIndex: 5 };
    const { io, asked } = nomadFor('management', [stub]);
    const owned = [entry('AclPolicy', { connection: 'default', type: 'acl-policy', name: 'ci' })];
    const { objects } = await aclPolicyObject.read(
      io,
      { ...request, owned, cached: () => ({ fields, index: 5 }) },
      signal,
    );
    expect(objects.get('ci')).toEqual({ fields, id: '3', index: 5, facts: { hash: stub.Hash } });
    expect(asked).toHaveLength(2);

    const older = { fields: { ...fields, rules: 'y' }, index: 5 };
    await aclPolicyObject.read(io, { ...request, owned, cached: () => older }, signal).catch(() => undefined);
    expect(asked).toContain('/v1/acl/policy/ci');
  });
  it.each([['client'], [undefined]])(
    'is refused from a %s token, to which all policies of others would look deleted',
    async (type) => {
      const refused = await aclPolicyObject.read(nomadFor(type).io, request, signal).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(TargetError);
      expect(refused).toMatchObject({ class: 'denied' });
      expect((refused as TargetError).message).toContain('give a management token');
    },
  );
});

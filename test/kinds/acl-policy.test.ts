import { describe, expect, it } from 'vitest';
import { TargetError } from '../../src/contract/errors.ts';
import type { Io, NomadApi } from '../../src/contract/target.ts';
import { aclPolicyObject } from '../../src/kinds/acl-policy/policy.ts';

/** A Nomad that answers a token of that type as the real one does: with the policies that it may see. */
function nomadFor(type: string | undefined): { io: Io; asked: string[] } {
  const asked: string[] = [];
  const api = {
    address: 'http://nomad:4646',
    list: (path: string) => {
      asked.push(path);
      return Promise.resolve({ items: [], index: 7 });
    },
    get: (path: string) => {
      asked.push(path);
      return Promise.resolve(type === undefined ? undefined : { body: { AccessorID: 'a', Type: type }, index: 7 });
    },
  } as unknown as NomadApi;
  return { io: { nomad: () => api } as unknown as Io, asked };
}

const request = { connection: 'default', desired: [], owned: [], cached: () => undefined };
const { signal } = new AbortController();

describe('the list of policies', () => {
  it('is believed from a management token, for one request more', async () => {
    const { io, asked } = nomadFor('management');
    expect((await aclPolicyObject.read(io, request, signal)).index).toBe(7);
    expect(asked).toEqual(['/v1/acl/policies', '/v1/acl/token/self']);
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

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Lease, VaultTokens } from '../../src/contract/credential.ts';
import { TargetError } from '../../src/contract/errors.ts';
import { RenewedCredential } from '../../src/credentials/renewed.ts';
import { vaultLogin } from '../../src/credentials/issuers.ts';
import { Session } from '../../src/credentials/session.ts';
import { fixedCredential } from '../../src/contract/credential.ts';
import { settled, VirtualClock } from '../faults/virtual-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** What no real server does in the time of a test: hours and days. @see test/e2e/vault-logins.real.test.ts for the rest. */
describe('a login at Vault, over hours and days', () => {
  let clock: VirtualClock;
  /** What was asked of Vault, with the minute. */
  let asked: string[];
  let changes: number;
  /** What Vault answers now. */
  let answer: { readonly ttlSeconds: number; readonly isRenewable: boolean } | TargetError;
  const open: { close(): Promise<void> }[] = [];

  beforeEach(() => {
    clock = new VirtualClock();
    asked = [];
    changes = 0;
    answer = { ttlSeconds: 3600, isRenewable: true };
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((o) => o.close()));
  });

  const note = (what: string): number => asked.push(`${what} ${String(Math.round(clock.monotonic() / 60_000))}`);
  function answered(what: string, token: string): Promise<Lease> {
    note(what);
    return answer instanceof TargetError ? Promise.reject(answer) : Promise.resolve({ token, ...answer });
  }
  const vault: VaultTokens = {
    login: () => answered('login', `token-${String(asked.length)}`),
    renew: (token) => answered('renew', token),
    lookup: (token) => answered('lookup', token),
    revoke: () => {
      note('revoke');
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };

  async function openSession(): Promise<Session> {
    const session = await Session.open({
      issuer: vaultLogin({ path: 'auth/kubernetes/login', body: () => ({ role: 'r' }) }, vault),
      clock: clock.ofProcess(() => true),
      random: () => 1,
      firstMs: 3_000,
      onChange: () => changes++,
    });
    open.push(session);
    return session;
  }

  it('is renewed at two thirds of its time', async () => {
    await openSession();
    await clock.runUntil(2 * HOUR + 1);
    expect(asked).toEqual(['login 0', 'renew 40', 'renew 80', 'renew 120']);
  });

  it('begins anew once a renewal gives less than the login did', async () => {
    const session = await openSession();
    const first = session.token();
    await clock.runUntil(60_000);
    answer = { ttlSeconds: 900, isRenewable: true };
    await clock.runUntil(41 * 60_000);
    expect(session.token()).toBe(first);
    answer = { ttlSeconds: 3600, isRenewable: true };
    await clock.runUntil(51 * 60_000);
    expect(asked).toEqual(['login 0', 'renew 40', 'login 50']);
    expect(session.token()).not.toBe(first);
  });

  it('is used to its end while Vault can’t be reached, and only then is there trouble', async () => {
    const session = await openSession();
    answer = new TargetError('nobody there', { class: 'transient' });
    await clock.runUntil(HOUR - 1);
    expect([session.trouble, session.token()]).toEqual([undefined, 'token-0']);
    await clock.runUntil(HOUR + 60_000);
    expect(session.trouble).toEqual({ error: 'nobody there', reason: 'Unavailable' });
    expect(() => session.token()).toThrow('nobody there');
    answer = { ttlSeconds: 3600, isRenewable: true };
    await clock.runUntil(HOUR + 2 * 60_000);
    expect(session.trouble).toBeUndefined();
    // The token of the beginning, its end, the token of now.
    expect(changes).toBe(3);
  });

  it.each([
    ['transient', 'Unavailable'],
    ['terminal', 'Denied'],
  ] as const)(
    'that Vault refuses (%s) is tried again and again, but twice a minute in the long run',
    async (errorClass, reason) => {
      answer = new TargetError('no', { class: errorClass });
      const session = await openSession();
      await clock.runUntil(HOUR);
      expect(session.trouble).toEqual({ error: 'no', reason });
      expect(asked.length).toBeGreaterThan(60);
      expect(asked.length).toBeLessThan(130);
      expect(changes).toBe(1);
    },
  );

  it.each([
    ['that lasts longer than a timer can wait', 365 * DAY],
    ['without an end', 0],
  ])('%s costs nothing meanwhile', async (_what, ttlMs) => {
    answer = { ttlSeconds: ttlMs / 1000, isRenewable: true };
    await openSession();
    await clock.runUntil(100 * DAY);
    expect(asked).toEqual(['login 0']);
  });

  it('is not waited for where Vault does not answer', async () => {
    const stuck: VaultTokens = { ...vault, login: () => new Promise(() => undefined) };
    const opening = Session.open({
      issuer: vaultLogin({ path: 'auth/kubernetes/login', body: () => ({}) }, stuck),
      clock: clock.ofProcess(() => true),
      random: () => 1,
      firstMs: 3_000,
      onChange: () => undefined,
    });
    await clock.runUntil(3_000);
    expect((await opening).trouble).toEqual({
      error: 'auth/kubernetes/login: the login is under way',
      reason: 'Unavailable',
    });
  });

  describe('a token that somebody made', () => {
    async function renewed(minutes: number): Promise<RenewedCredential> {
      const credential = new RenewedCredential(fixedCredential('made'), {
        vault,
        clock: clock.ofProcess(() => true),
        random: () => 1,
      });
      open.push(credential);
      await settled();
      await clock.runUntil(minutes * 60_000);
      return credential;
    }

    it('is renewed at two thirds of what is left, and left alone once that makes it last no longer', async () => {
      await renewed(60);
      answer = { ttlSeconds: 900, isRenewable: true };
      await clock.runUntil(10 * HOUR);
      expect(asked).toEqual(['lookup 0', 'renew 40', 'renew 80']);
    });

    it.each([
      ['has no end', { ttlSeconds: 0, isRenewable: false }],
      ['can’t be renewed', { ttlSeconds: 3600, isRenewable: false }],
      ['may not be looked up', new TargetError('permission denied', { class: 'denied' })],
    ])('that %s is left alone', async (_what, now) => {
      answer = now;
      await renewed(10 * 60);
      expect(asked).toEqual(['lookup 0']);
    });

    it('is used as it is where Vault says nothing of it, and not revoked at the end', async () => {
      answer = new TargetError('nobody there', { class: 'transient' });
      const credential = await renewed(1);
      expect([credential.trouble, credential.token()]).toEqual([undefined, 'made']);
      await credential.close();
      expect(asked.join()).not.toContain('revoke');
    });
  });
});

import { messageOf, TargetError } from '../contract/errors.ts';
import { problem, warning, type VaultCheck } from './check.ts';

/** What sys/health answers by its status. */
const NOT_WELL: Readonly<Record<number, readonly [message: string, advice: string]>> = {
  501: ['it was never initialised', 'Run `vault operator init`, and keep the keys that it prints.'],
  503: ['it is sealed: it reads and writes nothing', 'Unseal it: `vault operator unseal`, on each of its servers.'],
};

export const vaultReachable: VaultCheck = {
  name: 'vault-reachable',
  fine: 'answers, and is unsealed',
  isBasic: true,
  async look(vault, { signal }) {
    const answer = await vault.probe('/v1/sys/health', signal).catch((error: unknown) => messageOf(error));
    if (typeof answer === 'string')
      return [
        problem(
          '',
          `nobody answers at ${vault.api.address}: ${answer}`,
          'Is Vault running, and are address and TLS settings right?',
        ),
      ];
    const [message, advice] = NOT_WELL[answer.status] ?? [];
    return message === undefined || advice === undefined ? [] : [problem('', message, advice)];
  },
};

/** A token that ends sooner than this, and can't be renewed, is worth a word; seconds. */
const SOON = 24 * 60 * 60;

interface Self {
  readonly ttl: number;
  readonly renewable: boolean;
  readonly expire_time?: string | null;
}

export const vaultToken: VaultCheck = {
  name: 'vault-token',
  fine: 'Vault accepts our token',
  isBasic: true,
  async look({ api, trouble }, { signal }) {
    if (trouble !== undefined)
      return [problem('', `we have no token for it: ${trouble}`, 'Give a token, or correct spec.auth.')];
    const self = await api.read<Self>('auth/token/lookup-self', signal).catch(refusal);
    if (self === 'unknown')
      return [
        problem(
          'token',
          'Vault does not accept our token: it does not know it, or it has ended or was revoked',
          'Give a valid one, or let nomad-access log in (spec.auth of the VaultServer).',
        ),
      ];
    if (self === 'unseen' || self === undefined || self.ttl === 0 || self.renewable || self.ttl > SOON) return [];
    return [
      warning(
        'token',
        `our token ends in ${String(Math.round(self.ttl / 60))} min and cannot be renewed`,
        'Give one that can be renewed, or let nomad-access log in (spec.auth of the VaultServer).',
      ),
    ];
  },
};

/** A token that is known may lack the right to look at itself, which it does not need. */
function refusal(error: unknown): 'unknown' | 'unseen' {
  if (!(error instanceof TargetError) || error.class !== 'denied') throw error;
  return error.message.includes('invalid token') ? 'unknown' : 'unseen';
}

import { problem, warning, type Found, type NomadCheck, type VaultCheck } from './check.ts';

/**
 * Vault forgives 60 s by default (clock_skew_leeway of a JWT role), so that a difference beyond it refuses logins; half of it is a
 * warning. The `Date` of a reply counts whole seconds, so that up to a second is within what can be measured.
 */
const TOLERATED_MS = 60_000;

export const nomadClock: NomadCheck = {
  name: 'nomad-clock',
  fine: 'its clock is as ours',
  async look(nomad, { signal }) {
    const { aheadMs } = await nomad.probe('/v1/status/leader', signal);
    return apart(aheadMs, 'ours', 'Tokens with an end seem to end too early or too late');
  },
};

export const vaultClock: VaultCheck = {
  name: 'vault-clock',
  fine: 'its clock is as ours and as Nomad’s',
  async look(vault, { nomads, signal }) {
    const { aheadMs } = await vault.probe('/v1/sys/health', signal);
    const found = apart(aheadMs, 'ours', 'Leases seem to end too early or too late');
    for (const nomad of nomads) {
      const other = await nomad.probe('/v1/status/leader', signal).catch(() => undefined);
      if (aheadMs === undefined || other?.aheadMs === undefined) continue;
      const consequence = 'Vault refuses the JWTs of workloads as not valid yet, or as expired';
      found.push(...apart(aheadMs - other.aheadMs, `that of NomadCluster/${nomad.name}`, consequence));
    }
    return found;
  },
};

function apart(aheadMs: number | undefined, whose: string, consequence: string): Found[] {
  if (aheadMs === undefined || Math.abs(aheadMs) <= TOLERATED_MS / 2) return [];
  const seconds = `${String(Math.round(Math.abs(aheadMs) / 1000))} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
  const found = Math.abs(aheadMs) > TOLERATED_MS ? problem : warning;
  return [
    found('clock', `its clock is ${seconds} ${whose}`, `${consequence}: see to the time service of the machines.`),
  ];
}

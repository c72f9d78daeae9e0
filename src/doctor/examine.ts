import { messageOf, TargetError } from '../contract/errors.ts';
import {
  problem,
  warning,
  type CheckOf,
  type Finding,
  type Found,
  type NomadPatient,
  type Setting,
  type VaultPatient,
} from './check.ts';
import { nomadChecks, vaultChecks } from './checks.ts';

/** Every check on every server, one after the other; at least one finding of each that could be begun. */
export async function examine(setting: Setting): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const nomad of setting.nomads) findings.push(...(await each(nomadChecks, nomad, setting)));
  for (const vault of setting.vaults) findings.push(...(await each(vaultChecks, vault, setting)));
  return findings;
}

async function each<P extends NomadPatient | VaultPatient>(
  checks: readonly CheckOf<P>[],
  patient: P,
  setting: Setting,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of checks.filter(({ makesTokens }) => makesTokens !== true || setting.makeToken)) {
    setting.signal.throwIfAborted();
    const found = await run(check, patient, setting);
    const all = found.length > 0 ? found : [{ severity: 'ok', object: '', message: check.fine, advice: '' } as const];
    const connection = `${patient.kind}/${patient.name}`;
    findings.push(...all.map((f) => ({ check: check.name, connection, ...f })));
    if (check.isBasic === true && found.some((f) => f.severity === 'error')) break;
  }
  return findings;
}

async function run<P extends NomadPatient | VaultPatient>(
  check: CheckOf<P>,
  patient: P,
  setting: Setting,
): Promise<readonly Found[]> {
  try {
    return await check.look(patient, setting);
  } catch (error) {
    setting.signal.throwIfAborted();
    if (!(error instanceof TargetError)) throw error;
    if (error.class !== 'denied')
      return [problem('', `could not be found out: ${messageOf(error)}`, 'See to the server, and ask again.')];
    if (!isConcerned(check.concerns, setting)) return [];
    return [
      warning('', `could not be found out: ${messageOf(error)}`, 'Give the token that right, or take one that has it.'),
    ];
  }
}

function isConcerned(concerns: readonly string[] | undefined, { resources }: Setting): boolean {
  if (concerns === undefined || resources.length === 0) return true;
  return resources.some(({ kind }) => concerns.includes(kind));
}

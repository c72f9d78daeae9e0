import { TargetError } from '../../contract/errors.ts';
import type { Answer, Finding, NomadPatient, Setting, Severity, VaultPatient } from '../../doctor/check.ts';
import { examine } from '../../doctor/examine.ts';
import type { Transport } from '../../http/http.ts';
import { printable } from '../../plan/render.ts';
import type { DeclaredConnection } from '../connections.ts';
import { openToLook, type Looked } from '../looked-at.ts';
import type { ManifestOptions } from '../options.ts';
import type { Output } from '../report.ts';
import type { Terminal } from '../terminal.ts';

export interface DoctorOptions extends Pick<ManifestOptions, 'file' | 'allowAddress'> {
  readonly output: Output;
  readonly makeToken: boolean;
}

/** What is wrong on the servers, and what to do. Exit code 1 where there is an error. */
export async function doctor(options: DoctorOptions, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const wanted = { kinds: new Set(['NomadCluster', 'VaultServer'] as const), toleratesNoCredential: true };
  const looked = await openToLook(options, wanted, signal);
  const transports = new Map(looked.connections.map((c) => [c, looked.unauthenticated(c)]));
  try {
    for (const note of looked.notes) terminal.err(note);
    const findings = await examine(settingOf(looked, transports, options.makeToken, signal));
    print(findings, options.output, terminal);
    return findings.some(({ severity }) => severity === 'error') ? 1 : 0;
  } finally {
    await Promise.all([looked.close(), ...[...transports.values()].map((t) => t.close())]);
  }
}

function settingOf(
  looked: Looked,
  transports: ReadonlyMap<DeclaredConnection, Transport>,
  makeToken: boolean,
  signal: AbortSignal,
): Setting {
  const { io, resources } = looked;
  const nomads: NomadPatient[] = [];
  const vaults: VaultPatient[] = [];
  for (const [connection, transport] of transports) {
    const { kind, name } = connection;
    const probe = (path: string, until: AbortSignal): Promise<Answer> => probed(transport, path, until);
    const patient = { name, probe, trouble: looked.trouble(connection) };
    if (kind === 'VaultServer') vaults.push({ ...patient, kind, api: io.vault(name) });
    else
      nomads.push({
        ...patient,
        kind,
        api: io.nomad(name),
        wasBootstrapped: (s) => wasBootstrapped(looked, connection, s),
      });
  }
  return { nomads, vaults, resources, makeToken, signal, now: Date.now };
}

/** A SecretID that is none tells, and does nothing. */
async function wasBootstrapped(
  looked: Looked,
  connection: DeclaredConnection,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const tokens = looked.nomadTokens(connection);
  try {
    return (await tokens.bootstrap('none', signal)) === 'done before';
  } catch (error) {
    if (error instanceof TargetError) return undefined;
    throw error;
  } finally {
    await tokens.close();
  }
}

/** The server's clock is told in whole seconds, somewhere between the request and the reply. */
async function probed(transport: Transport, path: string, signal: AbortSignal): Promise<Answer> {
  const before = Date.now();
  const { status, text, headers } = await transport.request({
    method: 'GET',
    path,
    headers: {},
    idempotent: true,
    signal,
  });
  const middle = (before + Date.now()) / 2;
  const told = Date.parse(String(headers['date']));
  return { status, text, aheadMs: Number.isNaN(told) ? undefined : told + 500 - middle };
}

const MARKS: Readonly<Record<Severity, string>> = { error: 'ERROR  ', warning: 'WARNING', ok: 'ok     ' };
const STYLES = { error: 'refuse', warning: 'update', ok: 'noop' } as const;

/** What is wrong comes last, where whoever is called at night sees it first. */
function print(findings: readonly Finding[], output: Output, terminal: Terminal): void {
  if (output === 'json') {
    terminal.out(JSON.stringify({ findings }, null, 2));
    return;
  }
  for (const severity of ['ok', 'warning', 'error'] as const)
    for (const finding of findings.filter((f) => f.severity === severity)) {
      const { connection, object, message, advice, check } = finding;
      const what = printable(`${connection} ${object === '' ? '' : `${object}: `}${message}`);
      terminal.out(
        `${terminal.paint(STYLES[severity], MARKS[severity])} ${what} ${terminal.paint('dim', `[${check}]`)}`,
      );
      if (advice !== '') terminal.out(`        → ${printable(advice)}`);
    }
  const count = (severity: Severity): number => findings.filter((f) => f.severity === severity).length;
  const counted = (severity: 'error' | 'warning'): string =>
    `${String(count(severity))} ${severity}${count(severity) === 1 ? '' : 's'}`;
  terminal.out(`${counted('error')}, ${counted('warning')}, ${String(count('ok'))} in order.`);
}

import type { Reply } from '../../src/sandbox/http.ts';
import type { Simulation } from './simulation.ts';

/** What others do on the servers: no fault is in their way, and they have the right to everything. */

/** @param path below `/v1/`. */
export function onNomad(s: Simulation, method: string, path: string, body?: unknown): Promise<Reply> {
  return s.nomad.handle({
    method,
    path: `/v1/${path}`,
    query: new URLSearchParams(),
    headers: { 'x-nomad-token': s.secrets[0] ?? '' },
    body,
  });
}

/** @param path below `/v1/`. */
export function onVault(s: Simulation, method: string, path: string, body?: unknown): Promise<Reply> {
  return s.vault.handle({
    method,
    path: `/v1/${path}`,
    query: new URLSearchParams(),
    headers: { 'x-vault-token': 'hvs.simulation' },
    body,
  });
}

import { TargetError } from '../contract/errors.ts';
import type { NomadApi } from '../contract/target.ts';

interface Members {
  /** Servers of all regions of the federation. */
  readonly Members: readonly { readonly Tags: Readonly<Record<string, string>> | null }[] | null;
}

/**
 * Which NomadClusters are regions of one federation: they have the same servers, and share policies, roles, auth methods, binding
 * rules and global tokens.
 * @returns for each one whose federation has an earlier one among them, the name of the first.
 */
export async function sharing(
  names: readonly string[],
  nomad: (name: string) => NomadApi,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  if (names.length < 2) return new Map();
  const servers = await Promise.all(names.map(async (name) => ({ name, ids: await serverIds(nomad(name), signal) })));
  const first = new Map<string, string>();
  servers.forEach(({ name, ids }, i) => {
    const earlier = servers.slice(0, i).find((other) => [...other.ids].some((id) => ids.has(id)));
    if (earlier !== undefined) first.set(name, first.get(earlier.name) ?? earlier.name);
  });
  return first;
}

/** None where the token may not know: then it is a cluster by itself. */
async function serverIds(api: NomadApi, signal: AbortSignal): Promise<ReadonlySet<string>> {
  try {
    const members = (await api.get<Members>('/v1/agent/members', {}, signal))?.body.Members ?? [];
    return new Set(members.flatMap(({ Tags }) => Tags?.['id'] ?? []));
  } catch (error) {
    if (error instanceof TargetError) return new Set();
    throw error;
  }
}

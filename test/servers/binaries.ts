import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

export type ServerName = 'nomad' | 'vault' | 'etcd' | 'kube-apiserver' | 'kubectl' | 'helm' | 'kstatus';

const found = new Map<ServerName, string>();

/** The path of a server's binary. Only build.sh knows where they are; here it is asked to look, never to build. */
export function serverBinary(name: ServerName): string {
  const known = found.get(name);
  if (known !== undefined) return known;
  const lookup = spawnSync(join(import.meta.dirname, 'build.sh'), ['--find', name], { encoding: 'utf8' });
  const path = new RegExp(`^${name}=(.+)$`, 'm').exec(lookup.stdout)?.[1];
  if (lookup.status !== 0 || path === undefined) {
    // What build.sh says tells a broken NOMAD_BIN from an empty cache.
    const detail = lookup.error?.message ?? lookup.stderr.trim();
    throw new Error(`missing server ${name}: run \`make servers\`${detail === '' ? '' : ` (${detail})`}`);
  }
  found.set(name, path);
  return path;
}

/**
 * The gate of a suite that needs real servers: `describe.skipIf(!requireServers('nomad'))`. False where one is missing;
 * on CI that is an error instead, because a skipped suite there would look like a passed one.
 */
export function requireServers(...names: ServerName[]): boolean {
  try {
    names.forEach(serverBinary);
    return true;
  } catch (error) {
    if (process.env['CI'] !== undefined && process.env['CI'] !== '') throw error;
    return false;
  }
}

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse } from 'yaml';
import { serverBinary } from '../servers/binaries.ts';
import { cleanEnvironment, runCommand } from '../servers/command.ts';

const ARGO_CM = resolve(import.meta.dirname, '../../manifests/argocd/argocd-cm.yaml');

/** What is read of a resource of the API. */
export interface Judged {
  readonly kind: string;
  readonly metadata: { readonly generation: number; readonly deletionTimestamp?: string };
  readonly status?: unknown;
}

interface Opinion {
  readonly status: string;
  readonly message: string;
}

/** What others make of a resource: kstatus by its own library (so Flux does), Argo CD by our script in its interpreter. */
export interface Opinions {
  readonly kstatus: Opinion;
  readonly argo: Opinion;
}

/** The scripts of our patch for Argo CD, by kind. */
export function healthScripts(): ReadonlyMap<string, string> {
  const { data } = parse(readFileSync(ARGO_CM, 'utf8')) as { data: Record<string, string> };
  const prefix = 'resource.customizations.health.nomad-access.io_';
  return new Map(Object.entries(data).map(([key, script]) => [key.replace(prefix, ''), script]));
}

/** @throws Error where kstatus or the script fails on one of them. */
export async function opinionsOf(objects: readonly Judged[]): Promise<Opinions[]> {
  const scripts = healthScripts();
  const questions = objects.map((object) => ({ object, lua: scripts.get(object.kind) }));
  const input = JSON.stringify(questions);
  const { code, stdout, stderr } = await runCommand(serverBinary('kstatus'), [], { env: cleanEnvironment(), input });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Opinions[];
}

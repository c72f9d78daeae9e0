import type { NomadApi } from '../contract/target.ts';
import { fingerprint, type FieldRule } from '../plan/diff.ts';
import type { Live } from '../plan/step.ts';

/**
 * An object that was just written, as the connection's region has it: with that region's index, and not before a list there
 * shows it. @throws TargetError where it does not come.
 */
export async function arrived<T>(
  api: NomadApi,
  path: string,
  written: Live,
  rules: Readonly<Record<string, FieldRule>>,
  liveOf: (body: T) => Live,
): Promise<Live> {
  const meant = fingerprint(written.fields, rules);
  const there = await api.arrival<T>(
    path,
    (body) => body !== undefined && fingerprint(liveOf(body).fields, rules) === meant,
  );
  if (there?.body === undefined) return written;
  const live = liveOf(there.body);
  return { ...live, facts: { ...live.facts, ...written.facts } };
}

/** Deletes an object, and waits until it is gone from the connection's region. @returns that region's index. @throws TargetError */
export async function removed(api: NomadApi, path: string): Promise<number> {
  const index = await api.delete(path);
  return (await api.arrival(path, (body) => body === undefined))?.index ?? index;
}

import { stringify } from 'yaml';
import type { z } from 'zod';
import { manifestNameOf, unlike, type Importable, type Skipped } from '../contract/import.ts';
import type { AnyKind } from '../contract/kind.ts';
import { API_VERSION, type Resource } from '../contract/resource.ts';
import { durationText } from '../plan/render.ts';
import { canonical, type Value } from '../plan/value.ts';

/** What was found, and where. */
export interface Located extends Importable {
  /** Name of the connection. */
  readonly connection: string;
}

/** A manifest that declares what is there already. */
export interface ImportedManifest {
  readonly kind: string;
  readonly name: string;
  readonly liveName: string;
  /** Relative to the folder of the import: `acl-policies/readonly.yaml`. */
  readonly file: string;
  readonly text: string;
  readonly notes: readonly string[];
}

type Spec = Readonly<Record<string, unknown>>;

/** The manifests of one kind from all connections, each under a name of its own, and what could not be declared. */
export function manifestsOf(
  kind: AnyKind,
  found: readonly Located[],
  namespace: string,
): { readonly manifests: ImportedManifest[]; readonly skipped: (Skipped & Pick<Located, 'connection'>)[] } {
  const names = namesOf(found);
  const manifests: ImportedManifest[] = [];
  const skipped: (Skipped & Pick<Located, 'connection'>)[] = [];
  for (const located of found) {
    const { liveName, connection } = located;
    const name = names.get(located);
    if (name === undefined) {
      skipped.push({
        liveName,
        connection,
        why: `another manifest has the name that it must have: ${located.metadataName ?? ''}`,
      });
      continue;
    }
    const spec = named(located, name);
    const wrong = problemOf(kind, name, namespace, spec);
    if (wrong !== undefined) skipped.push({ liveName, connection, why: `no manifest can say it: ${wrong}` });
    else manifests.push(manifest(kind, located, name, namespace, spelled(kind.spec, shortened(kind, spec)) as Spec));
  }
  return { manifests, skipped };
}

/** Names that must be so first; of others that are the same, all but the first are told apart. */
function namesOf(found: readonly Located[]): ReadonlyMap<Located, string> {
  const names = new Map<Located, string>();
  /** By whose object each name is taken. */
  const taken = new Map<string, string>();
  const give = (located: Located, name: string): void => {
    names.set(located, name);
    taken.set(name, located.connection);
  };
  for (const located of found)
    if (located.metadataName !== undefined && !taken.has(located.metadataName)) give(located, located.metadataName);
  for (const located of found.filter(({ metadataName }) => metadataName === undefined))
    give(located, freeName(located, taken));
  return names;
}

function freeName({ liveName, distinction, connection }: Located, taken: ReadonlyMap<string, string>): string {
  const plain = manifestNameOf(liveName);
  const distinct = distinction === undefined ? plain : `${plain}-${distinction}`;
  const isAnothers = (taken.get(plain) ?? connection) !== connection;
  const elsewhere = isAnothers ? [manifestNameOf(`${plain}-${connection}`)] : [];
  return [plain, ...elsewhere, distinct].find((name) => !taken.has(name)) ?? unlike(elsewhere[0] ?? distinct, taken);
}

function named({ liveName, nameField, spec }: Importable, name: string): Spec {
  return nameField === undefined || liveName === name ? spec : { [nameField]: liveName, ...spec };
}

function problemOf(kind: AnyKind, name: string, namespace: string, spec: Spec): string | undefined {
  const parsed = kind.spec.safeParse(spec);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return issue && `spec.${issue.path.join('.')} ${issue.message}`;
  }
  const broken = kind.rules.find((rule) => rule.holds !== undefined && !rule.holds(parsed.data as never));
  if (broken !== undefined) return `spec.${broken.path}: ${broken.message}`;
  const resource: Resource = {
    kind: kind.kind,
    metadata: { name, namespace, annotations: {} },
    spec: parsed.data,
    source: '',
    folder: '',
    locate: () => ({ file: '', line: 1, column: 1 }),
  };
  const issue = kind.check?.(resource)[0];
  return issue && `${issue.path} ${issue.message}`;
}

/** Without all that goes without saying. */
function shortened(kind: AnyKind, spec: Spec): Spec {
  const meaning = (value: unknown): string | undefined => {
    const parsed = kind.spec.safeParse(value);
    return parsed.success ? canonical(parsed.data as Value) : undefined;
  };
  const whole = meaning(spec);
  return pathsOf(spec).reduce<Spec>((kept, path) => {
    const without = omit(kept, path) as Spec;
    return meaning(without) === whole ? without : kept;
  }, spec);
}

/** Durations as people write them: `8h` for 28800. */
function spelled(schema: z.ZodType, value: unknown): unknown {
  const def: Inside = schema.def as Inside;
  if (Number.isSafeInteger(value) && value !== 0 && schema.meta()?.['duration'] === true)
    return durationText(value as number);
  if (def.innerType !== undefined) return spelled(def.innerType, value);
  const { shape, element } = def;
  if (Array.isArray(value) && element !== undefined) return value.map((item) => spelled(element, item));
  if (typeof value !== 'object' || value === null || shape === undefined) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const field = shape[key];
      return [key, field === undefined ? inner : spelled(field, inner)];
    }),
  );
}

/** What a schema is made of: a field that may be missing, a list, a mapping of known fields. */
interface Inside {
  readonly innerType?: z.ZodType;
  readonly element?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
}

type Path = readonly (string | number)[];

/** Every field, the outer ones before what is in them. */
function pathsOf(value: unknown, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = [...at, Array.isArray(value) ? Number(key) : key];
    return [...(Array.isArray(value) ? [] : [path]), ...pathsOf(inner, path)];
  });
}

/** A copy without a field; what is not there can't be left out. */
function omit(value: unknown, [key, ...rest]: Path): unknown {
  if (typeof value !== 'object' || value === null || key === undefined || !(key in value)) return value;
  if (Array.isArray(value)) return value.map((item: unknown, i) => (i === key ? omit(item, rest) : item));
  const { [String(key)]: inner, ...others } = value as Record<string, unknown>;
  return rest.length === 0 ? others : { ...value, [key]: omit(inner, rest) };
}

function manifest(
  kind: AnyKind,
  { liveName, notes }: Importable,
  name: string,
  namespace: string,
  spec: Spec,
): ImportedManifest {
  const metadata = { name, ...(namespace !== 'default' && { namespace }) };
  const document = { apiVersion: API_VERSION, kind: kind.kind, metadata, spec };
  const head = notes.map((note) => `# ${note}\n`).join('');
  const text = head + stringify(document, { lineWidth: 0, aliasDuplicateObjects: false });
  return { kind: kind.kind, name, liveName, notes, text, file: `${folderOf(kind.kind)}/${name}.yaml` };
}

/** `AclPolicy` → `acl-policies` */
function folderOf(kind: string): string {
  return `${kind.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()}s`.replace(/ys$/, 'ies');
}

import { z } from 'zod';
import type { AnyKind } from '../../contract/kind.ts';
import {
  API_VERSION,
  GROUP,
  VERSION,
  type ManifestError,
  type Position,
  type Resource,
} from '../../contract/resource.ts';
import type { ManifestDocument } from './documents.ts';
import { suggestion } from './suggest.ts';

type Path = readonly (string | number)[];
type Problem = Omit<ManifestError, keyof Position> & { readonly at: Position };

const RFC1123 = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const TOP = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
/** What the API server adds, as `kubectl get -o yaml` prints it. */
const SERVER_SIDE = [
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'managedFields',
  'selfLink',
  'finalizers',
  'ownerReferences',
];
const METADATA = ['name', 'namespace', 'labels', 'annotations'];

/** A document as a resource, or what is wrong with it. */
export function validate(
  document: ManifestDocument,
  kinds: readonly AnyKind[],
): { resource?: Resource; errors: ManifestError[] } {
  const problems: Problem[] = [];
  const resource = new Check(document, kinds, problems).resource();
  const errors = problems.map(({ at, path, message }) => ({ ...at, path, message }));
  return errors.length === 0 && resource ? { resource, errors } : { errors };
}

class Check {
  readonly #document: ManifestDocument;
  readonly #kinds: readonly AnyKind[];
  readonly #problems: Problem[];

  constructor(document: ManifestDocument, kinds: readonly AnyKind[], problems: Problem[]) {
    this.#document = document;
    this.#kinds = kinds;
    this.#problems = problems;
  }

  resource(): Resource | undefined {
    const { value } = this.#document;
    if (!isObject(value))
      return this.#fail([], `must be an object with apiVersion: ${API_VERSION}, kind, metadata and spec`);
    const kind = this.#kind(value);
    if (kind === undefined) return undefined;
    this.#noOthers(value, TOP, []);
    const metadata = this.#metadata(value['metadata'], kind);
    const spec = this.#spec(value['spec'], kind);
    if (metadata === undefined || spec === undefined) return undefined;
    const resource: Resource = {
      kind: kind.kind,
      metadata,
      spec: spec.value,
      source: this.#document.file.name,
      folder: this.#document.file.folder,
      locate: (path) => this.#document.locate(split(path)),
    };
    for (const { path, message } of kind.check?.(resource) ?? []) this.#fail(split(path), message);
    return resource;
  }

  #kind(value: Record<string, unknown>): AnyKind | undefined {
    const { apiVersion, kind } = value;
    if (apiVersion === undefined) return this.#fail(['apiVersion'], `is missing: it must be ${API_VERSION}`);
    if (apiVersion !== API_VERSION) {
      const ours = String(apiVersion).startsWith(`${GROUP}/`);
      return this.#fail(
        ['apiVersion'],
        ours
          ? `this version of nomad-access knows only ${VERSION}`
          : `must be ${API_VERSION}: other objects don't belong among these manifests`,
      );
    }
    if (kind === undefined)
      return this.#fail(['kind'], `is missing: it must be one of ${this.#kindNames().join(', ')}`);
    const found = this.#kinds.find((k) => k.kind === kind);
    if (found !== undefined) return found;
    return this.#fail(
      ['kind'],
      `${shown(kind)} is no kind of ${API_VERSION}${suggestion(String(kind), this.#kindNames()) || `: there are ${this.#kindNames().join(', ')}`}`,
    );
  }

  #kindNames(): string[] {
    return this.#kinds.map((k) => k.kind);
  }

  #metadata(value: unknown, kind: AnyKind): Resource['metadata'] | undefined {
    if (!isObject(value)) return this.#fail(['metadata'], 'is missing or not an object: it must have a name');
    this.#noOthers(value, [...METADATA, ...SERVER_SIDE], ['metadata']);
    const { name, namespace } = value;
    if (typeof name !== 'string')
      this.#fail(
        ['metadata', 'name'],
        name === undefined ? 'is missing: every resource has a name' : 'must be a string: quote it',
      );
    else if (name.length > 253 || !RFC1123.test(name)) {
      this.#fail(
        ['metadata', 'name'],
        `${shown(name)} must be at most 253 lower-case letters, digits, dashes and dots, and begin and end with a letter or digit`,
      );
    }
    if (namespace !== undefined && kind.scope === 'Cluster')
      this.#fail(['metadata', 'namespace'], `a ${kind.kind} is in no namespace: remove it`);
    else if (
      namespace !== undefined &&
      (typeof namespace !== 'string' || namespace.length > 63 || !LABEL.test(namespace))
    ) {
      this.#fail(['metadata', 'namespace'], 'must be at most 63 lower-case letters, digits and dashes');
    }
    this.#texts(value['labels'], 'labels');
    const annotations = this.#texts(value['annotations'], 'annotations');
    const inNamespace = kind.scope === 'Cluster' ? '' : String(namespace ?? 'default');
    return { name: String(name), namespace: inNamespace, annotations };
  }

  #texts(value: unknown, field: string): Record<string, string> {
    if (value === undefined || value === null) return {};
    if (!isObject(value)) {
      this.#fail(['metadata', field], 'must be a map of strings');
      return {};
    }
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') this.#fail(['metadata', field, key], 'must be a string: quote it');
    }
    return value as Record<string, string>;
  }

  #spec(value: unknown, kind: AnyKind): { value: unknown } | undefined {
    const parsed = kind.spec.safeParse(value ?? {});
    if (!parsed.success) {
      for (const issue of parsed.error.issues)
        this.#issue(issue, ['spec', ...issue.path.map((p) => (typeof p === 'number' ? p : String(p)))], value ?? {});
      return undefined;
    }
    const broken = kind.rules.filter((rule) => rule.holds !== undefined && !rule.holds(parsed.data as never));
    for (const rule of broken) this.#fail(['spec', ...split(rule.path)], rule.message);
    return broken.length === 0 ? { value: parsed.data } : undefined;
  }

  #noOthers(value: Record<string, unknown>, known: readonly string[], path: Path): void {
    for (const key of Object.keys(value)) {
      if (!known.includes(key)) this.#unknown([...path, key], known);
    }
  }

  #unknown(path: Path, known: readonly string[]): void {
    const field = String(path.at(-1));
    const at = this.#document.locateKey(path);
    this.#problems.push({
      at,
      path: joined(path),
      message: `there is no field "${field}" here${suggestion(field, known) || (known.length > 0 && known.length < 16 ? `: known are ${known.join(', ')}` : '')}`,
    });
  }

  #issue(issue: z.core.$ZodIssue, path: Path, spec: unknown): void {
    if (issue.code === 'unrecognized_keys') {
      const known = fieldsAt(this.#schemaOf(), path.slice(1));
      for (const key of issue.keys) this.#unknown([...path, key], known);
      return;
    }
    this.#fail(path, sentence(issue, valueAt(spec, path.slice(1)), String(path.at(-1))));
  }

  #schemaOf(): z.ZodType | undefined {
    const { value } = this.#document;
    return this.#kinds.find((k) => isObject(value) && k.kind === value['kind'])?.spec;
  }

  #fail(path: Path, message: string): undefined {
    this.#problems.push({ at: this.#document.locate(path), path: joined(path), message });
    return undefined;
  }
}

/** What zod found, in a sentence that says what to write instead. */
function sentence(issue: z.core.$ZodIssue, value: unknown, field: string): string {
  switch (issue.code) {
    case 'invalid_type':
      if (value === undefined) return 'is missing: it is required';
      if (issue.expected === 'string') return `must be a string, not ${typeName(value)}: quote it`;
      return `must be ${article(issue.expected)}, not ${typeName(value)}`;
    case 'invalid_value':
      return `${shownIn(field, value)} must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map((v) => JSON.stringify(v)).join(', ')}`;
    case 'too_big':
      return `must ${issue.origin === 'string' ? 'have at most' : issue.origin === 'array' ? 'have at most' : 'be at most'} ${String(issue.maximum)}${unitOf(issue.origin)}`;
    case 'too_small':
      if (issue.origin === 'string' && issue.minimum === 1) return 'must not be empty';
      return `must ${issue.origin === 'string' || issue.origin === 'array' ? 'have at least' : 'be at least'} ${String(issue.minimum)}${unitOf(issue.origin)}`;
    case 'invalid_format':
    case 'invalid_union':
    case 'custom':
      return value === undefined ? 'is missing: it is required' : `${shownIn(field, value)} ${issue.message}`;
    default:
      return issue.message;
  }
}

function unitOf(origin: string): string {
  return origin === 'string' ? ' characters' : origin === 'array' ? ' entries' : '';
}

function article(type: string): string {
  const names: Record<string, string> = {
    boolean: 'true or false',
    int: 'an integer',
    number: 'a number',
    object: 'a map of fields',
    array: 'a list',
    record: 'a map',
  };
  return names[type] ?? `a ${type}`;
}

function typeName(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : `the ${typeof value} ${shown(value)}`;
}

const SECRET = /secret|token|password|key/i;

function shownIn(field: string, value: unknown): string {
  return SECRET.test(field) ? 'the value' : shown(value);
}

function shown(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : isObject(value) || Array.isArray(value)
        ? 'the value'
        : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}..."` : text;
}

/** The fields that the schema has at a path: for suggestions. */
function fieldsAt(schema: z.ZodType | undefined, path: Path): string[] {
  let current: unknown = schema;
  for (const part of ['', ...path]) {
    current = unwrapped(current);
    if (part === '') continue;
    if (current instanceof z.ZodObject && typeof part === 'string')
      current = (current.shape as Record<string, unknown>)[part];
    else if (current instanceof z.ZodArray) current = current.element;
    current = unwrapped(current);
  }
  return current instanceof z.ZodObject ? Object.keys(current.shape as object) : [];
}

function unwrapped(schema: unknown): unknown {
  let current = schema;
  while (current instanceof z.ZodOptional || current instanceof z.ZodDefault || current instanceof z.ZodNullable)
    current = current.unwrap();
  return current;
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (of, part) => (typeof of === 'object' && of !== null ? (of as Record<string | number, unknown>)[part] : undefined),
    value,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `spec.roles[2].name` */
export function joined(path: Path): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${String(part)}]` : i === 0 ? part : `.${part}`)).join('');
}

export function split(path: string): (string | number)[] {
  if (path === '') return [];
  return path.split(/\.|(?=\[)/).map((part) => (part.startsWith('[') ? Number(part.slice(1, -1)) : part));
}

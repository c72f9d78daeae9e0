import { z } from 'zod';
import type { AnyKind } from '../../contract/kind.ts';
import { API_VERSION, GROUP, type ManifestError, type Position, type Resource } from '../../contract/resource.ts';
import { locatorAt, type Place } from './documents.ts';
import { check, type Issue } from './issues.ts';
import type { Manifest } from './manifests.ts';
import { isRecord } from './plain.ts';
import { pathText, type Locator, type Path } from './positions.ts';
import type { SourceText } from './read.ts';
import { didYouMean } from './suggest.ts';

/** What identifies a resource, whatever else it holds. */
export type Declaration = Pick<Resource, 'kind' | 'metadata' | 'locate'>;

/** What a manifest turned out to be. */
export interface Verdict {
  readonly errors: readonly ManifestError[];
  /** Its kind, if that could be told, and its name, valid or not. */
  readonly kind?: AnyKind | undefined;
  readonly name?: string | undefined;
  /** Who it is, if its metadata is valid. */
  readonly declaration?: Declaration | undefined;
  /** Present where nothing is wrong with it. */
  readonly resource?: Resource;
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const texts = z.record(z.string(), z.string()).nullish();
const ignored = z.unknown().optional();

const metadata = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(253)
    .regex(NAME, { error: 'must be lower-case letters, digits, dashes and dots, with a letter or digit at both ends' }),
  namespace: z
    .string()
    .min(1)
    .max(63)
    .regex(LABEL, { error: 'must be lower-case letters, digits and dashes, with a letter or digit at both ends' })
    .optional(),
  labels: texts,
  annotations: texts,
  // What the API server adds.
  creationTimestamp: ignored,
  deletionGracePeriodSeconds: ignored,
  deletionTimestamp: ignored,
  finalizers: ignored,
  generateName: ignored,
  generation: ignored,
  managedFields: ignored,
  ownerReferences: ignored,
  resourceVersion: ignored,
  selfLink: ignored,
  uid: ignored,
});

/** The fields of every manifest; apiVersion, kind and spec are looked at on their own. */
const envelope = z.strictObject({ apiVersion: ignored, kind: ignored, metadata, spec: ignored, status: ignored });

export function validate(manifest: Manifest, kinds: readonly AnyKind[]): Verdict {
  return new Validation(manifest).verdict(kinds);
}

class Validation {
  readonly #errors: ManifestError[] = [];
  readonly #manifest: Manifest;

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
  }

  verdict(kinds: readonly AnyKind[]): Verdict {
    const { value } = this.#manifest;
    const errors = this.#errors;
    if (!isRecord(value)) {
      this.#report([], 'must be a mapping with apiVersion, kind, metadata and spec');
      return { errors };
    }
    const given = isRecord(value['metadata']) ? value['metadata']['name'] : undefined;
    const name = typeof given === 'string' ? given : undefined;
    const kind = this.#kind(value, kinds);
    if (kind === undefined) return { errors, name };
    const declaration = this.#declaration(kind, value);
    const spec = this.#spec(kind, value['spec'] ?? {});
    const resource = declaration && spec && this.#resource(kind, declaration, spec.value);
    const isValid = resource !== undefined && errors.length === 0;
    return { errors, kind, name, declaration, ...(isValid && { resource }) };
  }

  #kind(value: Record<string, unknown>, kinds: readonly AnyKind[]): AnyKind | undefined {
    const { apiVersion, kind: name } = value;
    const known = kinds.map((kind) => kind.kind);
    const isForeign = typeof apiVersion === 'string' && apiVersion.split('/')[0] !== GROUP;
    if (apiVersion !== API_VERSION) this.#report(['apiVersion'], versionProblem(apiVersion, isForeign));
    if (name === undefined) this.#report(['kind'], `is missing: it must be one of ${known.join(', ')}`);
    if (name === undefined || (isForeign && !known.some((candidate) => candidate === name))) return undefined;
    const kind = kinds.find((candidate) => candidate.kind === name);
    if (kind === undefined) this.#report(['kind'], kindProblem(name, known));
    return kind;
  }

  #declaration(kind: AnyKind, value: Record<string, unknown>): Declaration | undefined {
    const result = check(envelope, value);
    if ('issues' in result) this.#issues([], result.issues);
    const given = value['metadata'];
    const isCluster = kind.scope === 'Cluster';
    if (isCluster && isRecord(given) && given['namespace'] !== undefined)
      this.#report(['metadata', 'namespace'], `must be removed: a ${kind.kind} belongs to no namespace`, true);
    if ('issues' in result) return undefined;
    const { name, namespace = 'default', annotations } = result.value.metadata;
    return {
      kind: kind.kind,
      metadata: { name, namespace: isCluster ? '' : namespace, annotations: annotations ?? {} },
      locate: locate(this.#manifest.source, this.#manifest.document.place, this.#manifest.at),
    };
  }

  #spec(kind: AnyKind, given: unknown): { value: unknown } | undefined {
    const result = check(kind.spec, given);
    if ('issues' in result) {
      this.#issues(['spec'], result.issues);
      return undefined;
    }
    for (const rule of kind.rules) {
      const path = rule.path === '' ? 'spec' : `spec.${rule.path}`;
      if (rule.holds?.(result.value as never) === false) this.#reportAt(path, rule.message);
    }
    if (isRecord(result.value)) this.#onlyKubernetes(result.value);
    return result;
  }

  /** What can be declared, but not in a directory. */
  #onlyKubernetes({ auth }: Record<string, unknown>): void {
    if (!isRecord(auth)) return;
    const { approle } = auth;
    if (auth['tokenSecretRef'] !== undefined)
      this.#reportAt('spec.auth.tokenSecretRef', 'needs the Kubernetes source; use tokenEnv or tokenFile');
    if (isRecord(approle) && approle['secretIdSecretRef'] !== undefined)
      this.#reportAt(
        'spec.auth.approle.secretIdSecretRef',
        'needs the Kubernetes source; use secretIdEnv or secretIdFile',
      );
  }

  #resource(kind: AnyKind, declaration: Declaration, spec: unknown): Resource {
    const { name: source, folder } = this.#manifest.source;
    const { kind: name, locate } = declaration;
    const { metadata, spec: kept } = compact({ metadata: declaration.metadata, spec });
    const resource: Resource = { kind: name, metadata, spec: kept, source, folder, locate };
    for (const { path, message } of kind.check?.(resource) ?? []) this.#reportAt(path, message);
    return resource;
  }

  #issues(prefix: Path, issues: readonly Issue[]): void {
    for (const { path, message, isKey } of issues) this.#report([...prefix, ...path], message, isKey);
  }

  #report(path: Path, message: string, isKey = false): void {
    const full = [...this.#manifest.at, ...path];
    const { locator } = this.#manifest.document;
    this.#errors.push({ ...(isKey ? locator.key(full) : locator.value(full)), path: pathText(path), message });
  }

  #reportAt(path: string, message: string): void {
    const { at, document } = this.#manifest;
    this.#errors.push({ ...positionOf(document.locator, at, path), path, message });
  }
}

/** Keeps no tree of the document: it is parsed again for the rare position that is asked for later. */
function locate(source: SourceText, place: Place, at: Path): (path: string) => Position {
  return (path) => positionOf(locatorAt(source, place), at, path);
}

/** The same data in as little memory as it can be: what parsers make holds pieces of the text and many spare slots. */
function compact<T>(data: T): T {
  return JSON.parse(JSON.stringify(data)) as T;
}

function positionOf(locator: Locator, at: Path, path: string): Position {
  return locator.value(locator.parse(path, at));
}

function versionProblem(given: unknown, isForeign: boolean): string {
  if (given === undefined) return `is missing: it must be ${API_VERSION}`;
  if (isForeign) return `must be ${API_VERSION}: keep other manifests out of the paths given to -f`;
  return `must be ${API_VERSION}`;
}

function kindProblem(name: unknown, known: readonly string[]): string {
  if (typeof name !== 'string') return `must be one of ${known.join(', ')}`;
  const hint = didYouMean(name, known);
  return hint === '' ? `is not known: it must be one of ${known.join(', ')}` : `is not known${hint}`;
}

import type { AnyKind, ConnectionReference } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import { didYouMean } from './suggest.ts';

/** The names of what is declared, valid or not. */
export class Names {
  readonly #byKind = new Map<string, Set<string>>();
  /** Names of resources whose kind is unknown: each could be anything. */
  readonly #ofUnknown = new Set<string>();
  readonly #unnamed = new Set<string>();

  /** Takes note of a declaration, as far as it could be understood. */
  add(kind: string | undefined, name: string | undefined): void {
    if (kind === undefined) {
      if (name !== undefined) this.#ofUnknown.add(name);
    } else if (name === undefined) this.#unnamed.add(kind);
    else this.#byKind.set(kind, this.#namesOf(kind).add(name));
  }

  hasKind(kind: string): boolean {
    return this.#byKind.has(kind) || this.#unnamed.has(kind);
  }

  /** Whether the reference may lead somewhere: an error elsewhere is reported once, not at every reference. */
  mayHave({ kind, name }: ConnectionReference): boolean {
    return this.#namesOf(kind).has(name) || this.#unnamed.has(kind) || this.#ofUnknown.has(name);
  }

  of(kind: string): readonly string[] {
    return [...this.#namesOf(kind)].sort();
  }

  #namesOf(kind: string): Set<string> {
    return this.#byKind.get(kind) ?? new Set();
  }
}

/** References to connections that nobody declares. */
export function undeclared(resource: Resource, kind: AnyKind, names: Names): readonly ConnectionReference[] {
  return kind.references(resource.spec).filter((reference) => !names.mayHave(reference));
}

export function undeclaredError(resource: Resource, reference: ConnectionReference, names: Names): ManifestError {
  const message = `no ${reference.kind} called "${reference.name}" is declared${alternatives(reference, names)}`;
  return { ...resource.locate(reference.path), path: reference.path, message };
}

function alternatives({ kind, name }: ConnectionReference, names: Names): string {
  const known = names.of(kind);
  if (known.length === 0) return `: declare it`;
  return didYouMean(name, known) || `: declare it, or name one of ${known.join(', ')}`;
}

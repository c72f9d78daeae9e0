import type { ConnectionReference } from '../../contract/kind.ts';
import type { ManifestError, Resource } from '../../contract/resource.ts';
import { nameOf, type Fault } from './claims.ts';
import type { Contents, Declared } from './contents.ts';
import { DEFAULT, ENVIRONMENT, type EnvironmentResource } from './environment.ts';
import type { Known } from './known-files.ts';
import { fileError } from './places.ts';
import { Names, undeclaredError } from './references.ts';
import { Union, type UnionOptions } from './union.ts';

/** A file, and which of its states stands for it: none where it was never good. */
export interface Part {
  readonly known: Known;
  contents: Contents | undefined;
}

/** A mistake that shows only beside other files, or beside the folders around. */
export interface PartFault {
  readonly part: Part;
  /** Absent where an error elsewhere explains it. */
  readonly error?: ManifestError;
  /** Two resources claim one thing, and this is the later one. */
  readonly isClaim: boolean;
}

/** What the parts make together. */
export interface Outcome {
  /** In the order of the files; without those that claim what another one holds. */
  readonly resources: readonly Resource[];
  /** Declared a short while ago. */
  readonly lingering: readonly Resource[];
  readonly faults: readonly PartFault[];
  /** What is wrong with the environment. */
  readonly errors: readonly ManifestError[];
}

/** What was before. */
export interface Before {
  readonly resources: readonly Resource[];
  /** Whether a resource that is declared no more shall stay for now. */
  readonly lingers: (resource: Resource) => boolean;
  /** Contents that have no sink with a mistake. */
  readonly checked: WeakSet<Contents>;
}

/** Puts the parts together in one way. */
export class Trial {
  readonly #parts: readonly Part[];
  /** Parts of which something else stands for what they say now. */
  readonly #hidden: readonly Part[];
  readonly #union: Union;
  readonly #environment: readonly EnvironmentResource[];
  readonly #before: Before;
  readonly #owners = new Map<Resource, Part>();
  readonly #errors: ManifestError[] = [];

  constructor(
    parts: readonly Part[],
    options: UnionOptions,
    environment: readonly EnvironmentResource[],
    before: Before,
  ) {
    this.#parts = parts;
    this.#hidden = parts.filter(({ known, contents }) => contents !== known.current);
    this.#union = new Union(options);
    this.#environment = environment;
    this.#before = before;
  }

  /** @param isComplete whether all files were found. */
  async run(isComplete: boolean): Promise<Outcome> {
    const claims = this.#declare();
    const lingering = this.#linger();
    this.#standIn(isComplete);
    const own = [...this.#dangling(isComplete), ...(await this.#misplacedSinks())];
    // A file that is wrong by itself takes nothing from others.
    if (own.some(({ part }) => part.contents !== part.known.good)) {
      return { resources: [], lingering: [], faults: own, errors: this.#errors };
    }
    const precedence = { before: this.#before.resources, yielding: lingering };
    for (const fault of await this.#union.doubleClaims(precedence)) claims.push(fault);
    const faults = [...own, ...this.#ofParts(claims)];
    const losers = new Set(claims.map(({ resource }) => resource));
    return {
      resources: this.#inOrder().filter((resource) => !losers.has(resource)),
      lingering: lingering.filter((resource) => !losers.has(resource)),
      faults,
      errors: this.#errors,
    };
  }

  /** @returns resources whose names are taken. */
  #declare(): Fault[] {
    const faults: Fault[] = [];
    for (const { declared, resource, part } of this.#ranked()) {
      this.#owners.set(resource, part);
      const error = this.#union.add(declared, part.known.file.root);
      if (error !== undefined) faults.push({ resource, error });
    }
    return faults;
  }

  /** Those first that were there before, in the same file. */
  #ranked(): Candidate[] {
    const sources = new Map(this.#before.resources.map((resource) => [nameOf(resource), resource.source]));
    const old: Candidate[] = [];
    const young: Candidate[] = [];
    for (const part of this.#parts) {
      for (const declared of part.contents?.declared ?? []) {
        const { resource } = declared;
        if (resource === undefined) continue;
        const rank = sources.get(nameOf(resource)) === resource.source ? old : young;
        rank.push({ part, declared, resource });
      }
    }
    return [...old, ...young];
  }

  #linger(): Resource[] {
    const made = new Set(this.#environment.map((one) => ('resource' in one ? one.resource : undefined)));
    const gone = this.#before.resources.filter((resource) => !made.has(resource) && !this.#union.has(resource));
    const lingering = gone.filter((resource) => this.#before.lingers(resource));
    for (const { kind, metadata } of lingering) this.#union.names.add(kind, metadata.name);
    return lingering;
  }

  #standIn(isComplete: boolean): void {
    for (const made of this.#environment) {
      if (this.#union.names.hasKind(made.kind)) continue;
      if (this.#mayStandIn(made, isComplete)) this.#report(this.#union.addEnvironment(made));
      else if (this.#union.refersToDefault(made.kind)) this.#report([fileError(ENVIRONMENT, withheld(made.kind))]);
    }
  }

  #mayStandIn(made: EnvironmentResource, isComplete: boolean): boolean {
    if ('errors' in made || this.#before.resources.includes(made.resource)) return true;
    return isComplete && this.#hidden.every(({ known: { current } }) => current.text?.includes(made.kind) === false);
  }

  #report(errors: readonly ManifestError[]): void {
    for (const error of errors) this.#errors.push(error);
  }

  #dangling(isComplete: boolean): PartFault[] {
    const hidden = new Names();
    for (const { known } of this.#hidden) {
      for (const { kind, name } of known.current.declared) hidden.add(kind?.kind, name);
    }
    const isAllKnown = isComplete && this.#parts.every(({ known }) => known.current.isComplete);
    const isExplained = (reference: ConnectionReference): boolean => !isAllKnown || hidden.mayHave(reference);
    const { names } = this.#union;
    return this.#union.dangling().flatMap(({ resource, reference }) => {
      const part = this.#owners.get(resource);
      if (part === undefined) return [];
      if (isExplained(reference)) return [{ part, isClaim: false }];
      return [{ part, error: undeclaredError(resource, reference, names), isClaim: false }];
    });
  }

  async #misplacedSinks(): Promise<PartFault[]> {
    const { checked } = this.#before;
    const isChecked = (resource: Resource): boolean => {
      const contents = this.#owners.get(resource)?.contents;
      return contents !== undefined && checked.has(contents);
    };
    const faults = await this.#union.misplacedSinks(isChecked);
    const wrong = this.#ofParts(faults).map((fault) => ({ ...fault, isClaim: false }));
    const isWrong = new Set(wrong.map(({ part }) => part));
    for (const part of this.#parts) {
      if (part.contents !== undefined && !isWrong.has(part)) checked.add(part.contents);
    }
    return wrong;
  }

  /** What lingers, or comes from the environment, gives way without a word. */
  #ofParts(faults: readonly Fault[]): PartFault[] {
    return faults.flatMap(({ resource, error }) => {
      const part = this.#owners.get(resource);
      return part === undefined ? [] : [{ part, error, isClaim: true }];
    });
  }

  #inOrder(): Resource[] {
    const accepted = new Set(this.#union.resources);
    const declared = this.#parts.flatMap(({ contents }) => contents?.declared ?? []);
    const own = declared.flatMap(({ resource }) => (resource !== undefined && accepted.has(resource) ? resource : []));
    return [...own, ...this.#union.resources.filter((resource) => !this.#owners.has(resource))];
  }
}

interface Candidate {
  readonly part: Part;
  readonly declared: Declared;
  readonly resource: Resource;
}

function withheld(kind: string): string {
  return `${kind} ${DEFAULT} is not used as long as manifests can't be read: they may declare another one`;
}

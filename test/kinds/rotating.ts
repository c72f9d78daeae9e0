import { fingerprint } from '../../src/plan/diff.ts';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { aclTokenObject, tokenFieldRules } from '../../src/kinds/nomad-token/token.ts';
import { plan } from '../../src/plan/plan.ts';
import { keyText, type Live, type Owned, type PlannedStep } from '../../src/plan/step.ts';
import { settled, type Fields } from '../../src/plan/value.ts';
import { contextOf, entry, resource, type Situation } from './planning.ts';

const FILE = 'local/file/secret';

/** Where a pass ends: after so many writes, as if the process died. */
export type Budget = number;

/** Nomad, a file with a secret and an inventory, changed by nothing but the plans for one AclToken, all in memory. */
export class Rotating {
  now = 0;
  /** What Nomad's clock is ahead of ours. */
  skew = 0;
  readonly tokens = new Map<string, Live>();
  file: Live | undefined;
  owned: Owned[] = [];
  isFileBroken = false;
  /** How many tokens were ever made. */
  made = 0;
  spec: object;

  constructor(spec: object) {
    this.spec = spec;
  }

  plan(): PlannedStep[] {
    const declared = resource(aclToken, this.spec);
    const desired = aclToken.objects(declared, contextOf(this.#situation()));
    const kept = new Set(desired.flatMap((d) => [d.key, ...(d.keeps ?? [])].map(keyText)));
    const undeclared = this.owned
      .filter((owned) => !kept.has(keyText(owned.key)))
      .map((owned) => {
        const live = this.#find(owned);
        return {
          owned,
          live,
          suspended: false,
          deletionPolicy: declared.spec.deletionPolicy,
          ...(live && { liveFingerprint: fingerprint(live.fields, tokenFieldRules) }),
        };
      });
    return plan({ desired, owned: (key) => this.#ownedAt(keyText(key)), undeclared });
  }

  /** Plans and carries out, as often as that leads to something new. @returns what was written. */
  settle(budget: Budget = Infinity): string[] {
    const written: string[] = [];
    for (let pass = 0; pass < 10; pass++) {
      const before = JSON.stringify([this.owned, [...this.tokens], this.file]);
      for (const planned of this.plan()) {
        if (written.length >= budget) return written;
        if (this.#perform(planned)) written.push(`${planned.step.action} ${planned.step.reason} ${planned.key.type}`);
      }
      if (JSON.stringify([this.owned, [...this.tokens], this.file]) === before) return written;
    }
    throw new Error('it never comes to rest');
  }

  /** When time alone changes something next; Infinity: never. */
  get dueAt(): number {
    return Math.min(...this.plan().map((s) => s.desired?.dueAt ?? Infinity));
  }

  /** Lets time pass, with a pass whenever one is due. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (let due = this.dueAt; due <= end; due = this.dueAt) {
      if (due < this.now) throw new Error('what was due was not done');
      this.now = Math.max(this.now + 1, due);
      this.settle();
    }
    this.now = Math.max(this.now, end);
    this.settle();
  }

  isAlive(accessorId: string): boolean {
    const live = this.tokens.get(accessorId);
    const expires = live?.facts?.['expiresAt'];
    return live !== undefined && (typeof expires !== 'number' || expires > this.now + this.skew);
  }

  get alive(): string[] {
    return [...this.tokens.keys()].filter((id) => this.isAlive(id));
  }

  /** Whose secret a reader finds. */
  get inFile(): string | undefined {
    const accessorId = this.file?.facts?.['accessorId'];
    return typeof accessorId === 'string' ? accessorId : undefined;
  }

  #situation(): Situation {
    const tokens = [...this.tokens].map(([id, live]): [string, Live] => [`default/acl-token/${id}`, live]);
    return {
      live: { ...Object.fromEntries(tokens), ...(this.file && { [FILE]: this.file }) },
      owned: this.owned,
      now: this.now,
    };
  }

  #find(owned: Owned): Live | undefined {
    if (owned.key.type === 'file') return this.file;
    return owned.id === undefined
      ? [...this.tokens.values()].find(
          ({ fields }) => fields['name'] === owned.key.name && fingerprint(fields, tokenFieldRules) === owned.intent,
        )
      : this.tokens.get(owned.id);
  }

  #ownedAt(key: string): Owned | undefined {
    return this.owned.find((o) => keyText(o.key) === key);
  }

  /** @returns whether something was written. */
  #perform({ step, key, desired, live, owned }: PlannedStep): boolean {
    if (step.action === 'refuse') return false;
    if (step.action === 'delete') {
      if (this.isFileBroken) return false;
      if (key.type === 'file') this.file = undefined;
      else this.tokens.delete(live?.id ?? '');
      this.#forget(key);
      return true;
    }
    if (desired === undefined) {
      this.#forget(key);
      return false;
    }
    if (step.action === 'noop') {
      if (live) this.#record(key, desired.detail, live, owned?.adopted ?? true);
      return false;
    }
    return key.type === 'file'
      ? this.#writeFile(key, desired.detail)
      : this.#writeToken(key, settled(desired.fields), live);
  }

  #writeToken(key: Owned['key'], fields: Fields, before: Live | undefined): boolean {
    const ttl = fields['expirationTtl'];
    const id = before?.id ?? `t${String(++this.made)}`;
    const createdAt = this.now + this.skew;
    const facts = before?.facts ?? { createdAt, expiresAt: typeof ttl === 'number' ? createdAt + ttl * 1000 : null };
    const live = { id, fields, facts };
    this.tokens.set(id, live);
    const stamp: Fields = before
      ? { madeAt: this.#ownedAt(keyText(key))?.detail?.['madeAt'] ?? null }
      : { madeAt: this.now };
    this.#record(key, stamp, live, false);
    return true;
  }

  #writeFile(key: Owned['key'], detail: Fields | undefined): boolean {
    const newest = this.plan().find((s) => s.key.type === 'file')?.desired?.detail?.['accessorId'];
    if (this.isFileBroken || typeof newest !== 'string') return false;
    const fields = { 'writeSecretTo.file': `SecretID of ${newest}, mode 0600` };
    this.file = { id: newest, fields, facts: { accessorId: newest, digest: newest } };
    this.#record(key, { ...detail, accessorId: newest, heldSince: this.now }, this.file, false);
    return true;
  }

  #record(key: Owned['key'], detail: Fields | undefined, live: Live, adopted: boolean): void {
    this.#forget(key);
    const remembered =
      key.type === 'file' ? { accessorId: live.facts?.['accessorId'] ?? null } : aclTokenObject.remember?.(live);
    this.owned.push(entry('AclToken', key, { id: live.id ?? '', adopted, detail: { ...detail, ...remembered } }));
  }

  #forget(key: Owned['key']): void {
    this.owned = this.owned.filter((o) => keyText(o.key) !== keyText(key));
  }
}

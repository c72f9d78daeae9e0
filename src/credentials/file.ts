import { readFile } from 'node:fs/promises';
import type { Clock } from '../contract/clock.ts';
import type { Credential } from '../contract/credential.ts';
import { messageOf } from '../contract/errors.ts';
import { denied, textIn, withoutCredential, type CredentialName, type Found } from './credential-text.ts';
import { SharedLook } from './shared-look.ts';

export interface FileCredentialOptions {
  /** Absolute. */
  readonly path: string;
  readonly name: CredentialName;
  /** For the message where there is none: what to set. */
  readonly hint: string;
  readonly clock: Clock;
  /** Told when there is another text, or other trouble. */
  readonly onChange: () => void;
}

/** Whoever uses the credential finds a change of the file after this long at the latest; milliseconds. */
const LOOK_MS = 5_000;
/** Before a refused credential is looked for again; milliseconds. */
const PAUSE_MS = 1_000;

/** What a file holds at any time. A file that is gone or empty later leaves what it held: it may be in the midst of a change. */
export class FileCredential implements Credential {
  readonly #options: FileCredentialOptions;
  readonly #looks: SharedLook;
  #found: Found;
  #lookedAt: number;
  #cancel: () => void = () => undefined;
  #isClosed = false;

  private constructor(options: FileCredentialOptions, found: Found) {
    this.#options = options;
    this.#found = found;
    this.#lookedAt = options.clock.monotonic();
    this.#looks = new SharedLook(options.clock, PAUSE_MS, () => this.#look());
    if ('trouble' in found) this.#lookSoon();
  }

  static async open(options: FileCredentialOptions): Promise<FileCredential> {
    return new FileCredential(options, await readCredential(options));
  }

  get trouble(): Credential['trouble'] {
    return 'trouble' in this.#found ? this.#found.trouble : undefined;
  }

  token(): string {
    if ('trouble' in this.#found) throw withoutCredential(this.#found.trouble);
    if (this.#options.clock.monotonic() - this.#lookedAt >= LOOK_MS) void this.#look();
    return this.#found.text;
  }

  async replaced(refused: string): Promise<boolean> {
    if ('text' in this.#found && this.#found.text !== refused) return true;
    await this.#looks.again();
    return 'text' in this.#found && this.#found.text !== refused;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    return Promise.resolve();
  }

  async #look(): Promise<void> {
    this.#lookedAt = this.#options.clock.monotonic();
    const found = await readCredential(this.#options);
    if (this.#isClosed) return;
    if ('trouble' in found && 'trouble' in this.#found) this.#lookSoon();
    if (!isNews(found, this.#found)) return;
    this.#found = found;
    this.#options.onChange();
  }

  #lookSoon(): void {
    this.#cancel();
    this.#cancel = this.#options.clock.after(LOOK_MS, () => void this.#look());
  }
}

function isNews(found: Found, before: Found): boolean {
  if ('text' in found) return !('text' in before) || before.text !== found.text;
  return 'trouble' in before && before.trouble.error !== found.trouble.error;
}

/** Never throws. */
export async function readCredential({
  path,
  name,
  hint,
}: Pick<FileCredentialOptions, 'path' | 'name' | 'hint'>): Promise<Found> {
  try {
    return textIn(await readFile(path, 'utf8'), path, name);
  } catch (error) {
    return denied(`there is no ${name} (${hint}): ${messageOf(error)}`);
  }
}

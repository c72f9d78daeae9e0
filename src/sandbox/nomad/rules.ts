import { NomadError } from './errors.ts';

/**
 * Checks the rules of a policy as Nomad's parser does (acl/policy.go), as far as blocks, the dispositions and the
 * capabilities of namespaces go. It lets unknown fields inside a block pass, as Nomad 1.11.3 does.
 */

const DISPOSITIONS = ['deny', 'read', 'list', 'write', 'scale'];
const CAPABILITIES = new Set(
  'deny list-jobs parse-job read-job submit-job dispatch-job read-logs read-fs alloc-exec alloc-node-exec alloc-lifecycle csi-register-plugin csi-write-volume csi-read-volume csi-list-volume csi-mount-volume list-scaling-policies read-scaling-policy read-job-scaling scale-job host-volume-create host-volume-register host-volume-read host-volume-write host-volume-delete'.split(
    ' ',
  ),
);
/** Blocks with a label, and those without one. */
const BLOCKS: Readonly<Record<string, { readonly label: boolean }>> = {
  namespace: { label: true },
  node_pool: { label: true },
  host_volume: { label: true },
  agent: { label: false },
  node: { label: false },
  operator: { label: false },
  quota: { label: false },
  plugin: { label: false },
};

type Token = { readonly is: 'word' | 'text' | 'sign'; readonly value: string; readonly line: number };

/** @throws NomadError 400 with a text that begins as Nomad's does. */
export function checkRules(rules: string): void {
  if (rules.trim() === '') return;
  const tokens = rules.trimStart().startsWith('{') ? undefined : tokensOf(rules);
  if (tokens === undefined) checkJson(rules);
  else if (tokens.length === 0) fail(`Invalid policy: ${rules}`);
  else new Parser(tokens).file();
}

function fail(why: string): never {
  throw new NomadError(400, `policy 0 invalid: 1 error occurred:\n\t* failed to parse rules: ${why}\n\n`);
}

function checkJson(rules: string): void {
  let parsed: unknown;
  try {
    parsed = JSON.parse(rules);
  } catch (error) {
    fail(`Failed to parse ACL Policy: ${String(error)}`);
  }
  for (const block of Object.keys(parsed as object)) {
    if (!(block in BLOCKS)) fail(`Invalid policy: unknown block ${block}`);
  }
}

function tokensOf(text: string): Token[] {
  const pattern =
    /(?<space>\s+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)|(?<text>"(?:[^"\\\n]|\\.)*")|(?<word>[A-Za-z_][\w-]*)|(?<sign>[{}=[\],])|(?<bad>.)/gy;
  const tokens: Token[] = [];
  let line = 1;
  for (const match of text.matchAll(pattern)) {
    const { space, text: quoted, word, sign } = match.groups ?? {};
    if (quoted !== undefined) tokens.push({ is: 'text', value: quoted.slice(1, -1), line });
    else if (word !== undefined) tokens.push({ is: 'word', value: word, line });
    else if (sign !== undefined) tokens.push({ is: 'sign', value: sign, line });
    else if (space === undefined) fail(`Failed to parse ACL Policy: At ${String(line)}:1: illegal character`);
    line += match[0].split('\n').length - 1;
  }
  return tokens;
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  file(): void {
    while (this.#at < this.#tokens.length) this.#block();
  }

  #block(): void {
    const name = this.#take('word', 'text').value;
    const block = BLOCKS[name] ?? fail(`Invalid policy: unknown block ${name}`);
    if (block.label) this.#take('text');
    this.#sign('{');
    while (!this.#isSign('}')) this.#field(name);
    this.#sign('}');
  }

  #field(block: string): void {
    const field = this.#take('word', 'text').value;
    if (this.#isSign('{')) {
      this.#nested();
      return;
    }
    this.#sign('=');
    if (this.#isSign('[')) this.#capabilities(block);
    else if (field === 'policy') this.#disposition(block);
    else this.#take('text', 'word');
  }

  #capabilities(block: string): void {
    for (const capability of this.#list()) {
      if (block === 'namespace' && !CAPABILITIES.has(capability)) fail(`Invalid namespace capability '${capability}'`);
    }
  }

  #disposition(block: string): void {
    const { value } = this.#take('text');
    if (!DISPOSITIONS.includes(value)) fail(`Invalid ${block} policy: "${value}"`);
  }

  #nested(): void {
    this.#sign('{');
    for (let depth = 1; depth > 0; this.#at++) {
      const token = this.#tokens[this.#at] ?? fail('Failed to parse ACL Policy: unexpected end of file');
      if (token.is === 'sign') depth += token.value === '{' ? 1 : token.value === '}' ? -1 : 0;
    }
  }

  #list(): string[] {
    const items: string[] = [];
    this.#sign('[');
    while (!this.#isSign(']')) {
      items.push(this.#take('text').value);
      if (!this.#isSign(']')) this.#sign(',');
    }
    this.#sign(']');
    return items;
  }

  #isSign(value: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.is === 'sign' && token.value === value;
  }

  #sign(value: string): void {
    if (!this.#isSign(value)) this.#unexpected(value);
    this.#at++;
  }

  #take(...kinds: Token['is'][]): Token {
    const token = this.#tokens[this.#at];
    if (token === undefined || !kinds.includes(token.is)) return this.#unexpected(kinds.join(' or '));
    this.#at++;
    return token;
  }

  #unexpected(wanted: string): never {
    const token = this.#tokens[this.#at];
    fail(
      `Failed to parse ACL Policy: At ${String(token?.line ?? 1)}:1: expected ${wanted}, got ${token?.value ?? 'EOF'}`,
    );
  }
}

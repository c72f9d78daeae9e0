/**
 * Selectors of binding rules, as far as go-bexpr is needed for them: `value.x == "y"`, `!=`, `"y" in list.x`, `not in`,
 * `list.x contains "y"`, `matches`, `is empty`, with `and`, `or`, `not` and parentheses.
 */
export interface Claims {
  readonly value: Readonly<Record<string, string>>;
  readonly list: Readonly<Record<string, readonly string[]>>;
}

type Expression = (claims: Claims) => boolean;
type Value = string | readonly string[] | undefined;

/** Whether these claims are meant; what can't be read means none, and an empty selector means all. */
export function selects(selector: string, claims: Claims): boolean {
  if (selector === '') return true;
  const parsed = parse(selector);
  return typeof parsed === 'function' && parsed(claims);
}

/** @returns why a selector can't be read. */
export function selectorProblem(selector: string): string | undefined {
  if (selector === '') return undefined;
  const parsed = parse(selector);
  return typeof parsed === 'string' ? parsed : undefined;
}

function parse(selector: string): Expression | string {
  const words = selector.match(/"(?:[^"\\]|\\.)*"|`[^`]*`|==|!=|[()]|[^\s()"`=!]+|\S/g) ?? [];
  try {
    const reader = new Reader(words);
    const expression = reader.or();
    return reader.isAtEnd() ? expression : `no match found, expected: end of input`;
  } catch (error) {
    return error instanceof SyntaxError ? error.message : String(error);
  }
}

class Reader {
  readonly #words: readonly string[];
  #at = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  isAtEnd(): boolean {
    return this.#at === this.#words.length;
  }

  or(): Expression {
    const left = this.#and();
    if (!this.#accept('or')) return left;
    const right = this.or();
    return (claims) => left(claims) || right(claims);
  }

  #and(): Expression {
    const left = this.#not();
    if (!this.#accept('and')) return left;
    const right = this.#and();
    return (claims) => left(claims) && right(claims);
  }

  #not(): Expression {
    if (this.#accept('not')) {
      const inner = this.#not();
      return (claims) => !inner(claims);
    }
    if (!this.#accept('(')) return this.#match();
    const inner = this.or();
    this.#expect(')');
    return inner;
  }

  #match(): Expression {
    const left = this.#next();
    const negated = this.#accept('not');
    if (this.#accept('in')) {
      const value = valueAt(this.#next());
      return (claims) => includes(value(claims), unquoted(left)) !== negated;
    }
    const value = valueAt(left);
    if (negated) throw new SyntaxError(`no match found, expected: "in"`);
    const operator = this.#next();
    if (operator === 'is') {
      const isNot = this.#accept('not');
      this.#expect('empty');
      return (claims) => !value(claims)?.length !== isNot;
    }
    const operand = unquoted(this.#next());
    switch (operator) {
      case '==':
        return (claims) => value(claims) === operand;
      case '!=':
        return (claims) => value(claims) !== operand;
      case 'contains':
        return (claims) => includes(value(claims), operand);
      case 'matches':
        return (claims) => new RegExp(operand).test(String(value(claims) ?? ''));
      default:
        throw new SyntaxError(`no match found, expected: an operator, not ${JSON.stringify(operator)}`);
    }
  }

  #next(): string {
    const word = this.#words[this.#at++];
    if (word === undefined) throw new SyntaxError('no match found at the end of the input');
    return word;
  }

  #accept(word: string): boolean {
    if (this.#words[this.#at] !== word) return false;
    this.#at++;
    return true;
  }

  #expect(word: string): void {
    if (!this.#accept(word)) throw new SyntaxError(`no match found, expected: ${JSON.stringify(word)}`);
  }
}

const includes = (value: Value, part: string): boolean => value?.includes(part) === true;

/** @throws SyntaxError where the word is no path. One that leads elsewhere than to a claim has no value. */
function valueAt(path: string): (claims: Claims) => Value {
  if (!/^[a-zA-Z][\w/]*(\.[\w-]+)*$/.test(path)) throw new SyntaxError(`no match found, expected: a path, not ${path}`);
  const [kind, ...rest] = path.split('.');
  const name = rest.join('.');
  return (claims) => (kind === 'value' ? claims.value[name] : kind === 'list' ? claims.list[name] : undefined);
}

function unquoted(word: string): string {
  return word.startsWith('"') ? (JSON.parse(word) as string) : word.replace(/^`|`$/g, '');
}

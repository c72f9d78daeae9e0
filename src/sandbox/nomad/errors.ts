/** An error as Nomad's HTTP API answers it: a status and a plain text. */
export class NomadError extends Error {
  override readonly name = 'NomadError';
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** @throws NomadError 400 that lists the problems as Go's multierror does; where there is none it returns. */
export function invalidObject(what: string, problems: readonly (string | false)[]): void {
  const found = problems.filter((problem) => problem !== false);
  if (found.length === 0) return;
  const count = found.length === 1 ? '1 error' : `${String(found.length)} errors`;
  const lines = found.map((problem) => `\t* ${problem}\n`).join('');
  throw new NomadError(400, `${what} ${count} occurred:\n${lines}\n`);
}

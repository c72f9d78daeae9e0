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

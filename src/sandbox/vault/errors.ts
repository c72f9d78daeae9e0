/** Errors as Vault's HTTP API answers them. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
  constructor(
    readonly status: number,
    readonly errors: readonly string[],
  ) {
    super(errors.join('; '));
  }
}

export const denied = (): VaultError => new VaultError(403, ['1 error occurred:\n\t* permission denied\n\n']);
/** Whose token nobody knows. */
export const unknownToken = (): VaultError =>
  new VaultError(403, ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n']);
/** Where nothing is mounted. */
export const unmounted = (path: string): VaultError =>
  new VaultError(404, [`no handler for route "${path}". route entry not found.`]);
/** Where something else is mounted. */
export const unsupported = (): VaultError => new VaultError(404, ['1 error occurred:\n\t* unsupported path\n\n']);
export const missing = (): VaultError => new VaultError(404, []);
export const invalid = (message: string): VaultError => new VaultError(400, [message]);

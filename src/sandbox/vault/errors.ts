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
export const missing = (): VaultError => new VaultError(404, []);
export const invalid = (message: string): VaultError => new VaultError(400, [message]);

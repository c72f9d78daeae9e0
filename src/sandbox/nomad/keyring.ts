import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';
import { randomUUID } from 'node:crypto';

interface Key {
  readonly kid: string;
  readonly jwk: JWK;
  readonly sign: Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];
}

/** The keys that workload identities are signed with: real ones, so that JWTs can be verified. */
export class Keyring {
  readonly #keys: Key[] = [];

  /** Makes a new active key; the old ones stay published. @returns its ID. */
  async rotate(): Promise<string> {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    const kid = randomUUID();
    this.#keys.unshift({
      kid,
      jwk: { ...(await exportJWK(publicKey)), use: 'sig', kid, alg: 'RS256' },
      sign: privateKey,
    });
    return kid;
  }

  drop(kid: string): void {
    const at = this.#keys.findIndex((key) => key.kid === kid);
    if (at >= 0) this.#keys.splice(at, 1);
  }

  jwks(): { keys: JWK[] } {
    return { keys: this.#keys.map((key) => key.jwk) };
  }

  /** A workload's identity, by the active key or the one that is named. */
  mint(claims: Record<string, unknown>, audience: string, kid?: string): Promise<string> {
    const key = kid === undefined ? this.#keys[0] : this.#keys.find((k) => k.kid === kid);
    if (key === undefined) throw new Error('the keyring has no such key');
    return new SignJWT({ nomad_namespace: 'default', ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'JWT' })
      .setAudience(audience)
      .setSubject('global:default:job:group:task:identity')
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime('1h')
      .sign(key.sign);
  }
}

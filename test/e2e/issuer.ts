import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose';
import type { Certificate } from '../servers/certificates.ts';

/** Signs tokens, and serves its key as a JWKS and by OIDC discovery, as a Nomad with `oidc_issuer` does. */
export class Issuer {
  readonly address: string;
  readonly #server: Server;
  readonly #key: CryptoKey;

  private constructor(address: string, server: Server, key: CryptoKey) {
    this.address = address;
    this.#server = server;
    this.#key = key;
  }

  get jwksUrl(): string {
    return `${this.address}/.well-known/jwks.json`;
  }

  /** @param certificate of the server; without it, plain HTTP. */
  static async start(certificate?: Certificate): Promise<Issuer> {
    const { publicKey, privateKey } = await generateKeyPair('RS256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'only', alg: 'RS256', use: 'sig' };
    const files: Record<string, object> = { '/.well-known/jwks.json': { keys: [jwk] } };
    const server =
      certificate === undefined
        ? createHttpServer()
        : createHttpsServer({ cert: readFileSync(certificate.certFile), key: readFileSync(certificate.keyFile) });
    server.on('request', ({ url = '' }, response) => {
      const file = files[new URL(url, 'http://any').pathname];
      response.writeHead(file === undefined ? 404 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(file ?? {}));
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as AddressInfo;
    const address = `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${String(port)}`;
    files['/.well-known/openid-configuration'] = { issuer: address, jwks_uri: `${address}/.well-known/jwks.json` };
    return new Issuer(address, server, privateKey);
  }

  /** A token of a job, for Vault. */
  sign(job: string): Promise<string> {
    return this.issue('vault.io', { nomad_job_id: job, nomad_namespace: 'default', nomad_task: 'task' });
  }

  issue(audience: string, claims: Readonly<Record<string, unknown>>): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'only' })
      .setIssuer(this.address)
      .setAudience(audience)
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime('5m')
      .sign(this.#key);
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((done) =>
      this.#server.close(() => {
        done();
      }),
    );
  }
}

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  certFile: string;
  keyFile: string;
}

export interface Certificates {
  caFile: string;
  /** For 127.0.0.1, localhost and Nomad's server.global.nomad; good for a client, too. */
  server: Certificate;
  client: Certificate;
}

const NAMES = 'IP:127.0.0.1,DNS:localhost,DNS:server.global.nomad,DNS:client.global.nomad';

/** Makes an authority of its own, and by it a server's and a client's certificate, valid for a day. Needs `openssl`. */
export function makeCertificates(directory: string): Certificates {
  mkdirSync(directory, { recursive: true });
  const ca = { certFile: join(directory, 'ca.pem'), keyFile: join(directory, 'ca-key.pem') };
  const authority = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ];
  openssl(
    'req',
    '-x509',
    ...newKey(ca.keyFile),
    '-days',
    '1',
    '-subj',
    '/CN=test CA',
    ...authority,
    '-out',
    ca.certFile,
  );
  return {
    caFile: ca.certFile,
    server: issue(directory, 'server', `subjectAltName=${NAMES}\nextendedKeyUsage=serverAuth,clientAuth\n`, ca),
    client: issue(directory, 'client', 'extendedKeyUsage=clientAuth\n', ca),
  };
}

function issue(directory: string, name: string, extensions: string, ca: Certificate): Certificate {
  const certificate = { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}-key.pem`) };
  const request = join(directory, `${name}.csr`);
  const extensionFile = join(directory, `${name}.ext`);
  writeFileSync(extensionFile, extensions);
  openssl('req', ...newKey(certificate.keyFile), '-subj', `/CN=test ${name}`, '-out', request);
  const signer = ['-CA', ca.certFile, '-CAkey', ca.keyFile, '-CAcreateserial', '-days', '1', '-extfile', extensionFile];
  openssl('x509', '-req', '-in', request, ...signer, '-out', certificate.certFile);
  return certificate;
}

function newKey(file: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file];
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

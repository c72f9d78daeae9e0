import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/sandbox/index.ts';
import { useSandbox } from '../e2e/sandbox-workspace.ts';
import { manifest, Workspace } from '../e2e/workspace.ts';

const COUNT = 20;
const RULES = `rules: 'namespace "default" { policy = "read" }'`;
const names = Array.from({ length: COUNT }, (_, i) => String(i));

describe('a server that can’t be worked with', () => {
  const setting = useSandbox();
  let sandbox: Sandbox;
  let workspace: Workspace;

  beforeEach(() => {
    ({ sandbox, workspace } = setting);
    workspace.write('policies.yaml', ...names.map((n) => manifest('AclPolicy', `p${n}`, RULES)));
    workspace.write(
      'tokens.yaml',
      ...names.map((n) =>
        manifest('AclToken', `t${n}`, `policies: [p${n}]\nwriteSecretTo: { file: { path: secrets/t${n} } }`),
      ),
    );
  });

  it('is told once for all its objects, in text and in markdown, and in JSON for each', async () => {
    await sandbox.close();
    for (const output of ['text', 'markdown']) {
      const { stdout } = await workspace.run('plan', '-f', 'manifests', '-o', output);
      expect(stdout.match(/nothing listens there/g), output).toHaveLength(1);
      expect(stdout.match(/Unavailable/g), output).toHaveLength(1);
      expect(stdout).toContain(`${String(3 * COUNT)} objects of AclPolicy default/p0, AclPolicy default/p1`);
      expect(stdout.split('\n').length).toBeLessThan(12);
    }
    const { steps } = await workspace.plan();
    expect(steps.filter((s) => s.message.includes('nothing listens there'))).toHaveLength(3 * COUNT);
  });

  it('is told twice by an apply: in its plan and at its end', async () => {
    await sandbox.close();
    const { code, stdout, stderr } = await workspace.run('apply', '-f', 'manifests', '-y');
    expect([code, stderr]).toEqual([1, '']);
    expect(stdout.match(/nothing listens there/g)).toHaveLength(2);
    expect(stdout).toContain(`0 done, 0 in order, ${String(3 * COUNT)} not done.`);
    expect(stdout).toMatch(/refused: 60 objects of AclPolicy default\/p0.*: Unavailable: /);
  });

  it('that does not know our token is told apart from one where it lacks a right', async () => {
    const sink = 'type: management\nwriteSecretTo: { vaultKv: { path: ci/nomad } }';
    workspace.write('sunk.yaml', manifest('VaultJwtIntegration', 'workloads'), manifest('AclToken', 'ci', sink));
    const { stdout } = await workspace.start(['plan', '-f', 'manifests'], { VAULT_TOKEN: 'hvs.gone' }).outcome;
    expect(stdout).toContain('Vault does not know the token given for this VaultServer: it has ended, was revoked');
    expect(stdout).not.toMatch(/lacks the right|nothing is mounted|no right at all/);
  });

  it('that speaks no TLS is told apart from a bad certificate', async () => {
    workspace.retarget({ nomad: { ...sandbox.nomad, address: sandbox.nomad.address.replace('http:', 'https:') } });
    const { stdout } = await workspace.run('plan', '-f', 'manifests');
    expect(stdout).toContain('the server speaks plain http there: use http://');
    expect(stdout).not.toMatch(/OpenSSL|SSL routines|check the CA/);
  });

  describe('because something else answers', () => {
    let server: Server;
    let reply: { status: number; text: string };
    let address: string;

    beforeEach(async () => {
      server = createServer((_request, response) => {
        response.writeHead(reply.status).end(reply.text);
      });
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      address = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
      workspace.write('vault.yaml', manifest('VaultJwtIntegration', 'workloads', 'jwksUrl: http://127.0.0.1:1/'));
      workspace.retarget({ nomad: { address, token: 'x' }, vault: { address, token: 'x' } });
    });
    afterEach(() => {
      server.close();
      server.closeAllConnections();
    });

    it('with TLS, the way out is named', async () => {
      // What Go's servers say.
      reply = { status: 400, text: 'Client sent an HTTP request to an HTTPS server.\n' };
      const { stdout } = await workspace.run('plan', '-f', 'manifests');
      expect(stdout.match(/the server speaks TLS there: use https:/g)?.length).toBeGreaterThanOrEqual(1);
      expect(stdout).not.toContain('Client sent');
    });

    it('with a web page, its text is kept out of the message', async () => {
      reply = { status: 403, text: '<!DOCTYPE html>\n<html><body>Sign in to the intranet</body></html>' };
      const { code, stdout } = await workspace.run('plan', '-f', 'manifests');
      expect(code).toBe(1);
      expect(stdout).toContain('what answers there is not Nomad (it sends an HTML page)');
      expect(stdout).toContain('what answers there is not Vault (it sends an HTML page)');
      expect(stdout).not.toContain('intranet');
    });

    it('with a web page in place of Vault’s data, nothing is taken for absent', async () => {
      reply = { status: 200, text: '<html><body>Welcome</body></html>' };
      workspace.remove('policies.yaml');
      workspace.remove('tokens.yaml');
      const { code, steps } = await workspace.plan();
      expect(code).toBe(1);
      expect(new Set(steps.map((s) => s.action))).toEqual(new Set(['refuse']));
    });
  });
});

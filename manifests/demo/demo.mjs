// The whole life of the examples on the sandbox: plan, apply, break by hand, see the drift, put it back, destroy.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const executable = join(root, 'dist/nomad-access.js');
const folder = mkdtempSync(join(tmpdir(), 'nomad-access-demo-'));
cpSync(join(root, 'manifests/examples/first-steps'), join(folder, 'manifests'), { recursive: true });

const sandbox = spawn(process.execPath, [executable, 'sandbox', '-o', 'json'], { stdio: ['ignore', 'pipe', 'ignore'] });
let failed = false;
try {
  const environment = JSON.parse(await new Promise((done) => sandbox.stdout.once('data', done)));
  say('A Nomad and a Vault to try things on, in process', 'nomad-access sandbox');
  const run = (expected, ...args) => {
    say('', `nomad-access ${args.join(' ')}`);
    const env = { ...process.env, ...environment };
    const { status } = spawnSync(process.execPath, [executable, ...args], { cwd: folder, env, stdio: 'inherit' });
    if (status !== expected) throw new Error(`nomad-access ${args.join(' ')} ended with ${status}, not ${expected}`);
  };

  say('What would be made');
  run(2, 'plan', '-f', 'manifests', '--detailed-exitcode');
  say('Make it');
  run(0, 'apply', '-f', 'manifests', '--yes');
  run(0, 'plan', '-f', 'manifests', '--detailed-exitcode');

  say('Somebody changes a policy and a role by hand');
  const nomad = { method: 'PUT', headers: { 'x-nomad-token': environment.NOMAD_TOKEN } };
  const rules = 'namespace "default" {\n  policy = "write"\n}\n';
  await fetch(`${environment.NOMAD_ADDR}/v1/acl/policy/readonly`, {
    ...nomad,
    body: JSON.stringify({ Name: 'readonly', Rules: rules }),
  });
  const role = { role_type: 'jwt', user_claim: '/nomad_job_id', token_policies: ['nomad-workloads', 'admin'] };
  await fetch(`${environment.VAULT_ADDR}/v1/auth/jwt-nomad/role/nomad-workloads`, {
    method: 'PUT',
    headers: { 'x-vault-token': environment.VAULT_TOKEN },
    body: JSON.stringify(role),
  });
  say('The drift');
  run(2, 'plan', '-f', 'manifests', '--detailed-exitcode');
  say('Put it back');
  run(0, 'apply', '-f', 'manifests', '--yes');
  run(0, 'status', '-f', 'manifests');
  say('What the Nomad agents need');
  run(0, 'agent-config', '-f', 'manifests');
  say('Take it all away');
  run(0, 'destroy', '-f', 'manifests', '--yes');
} catch (error) {
  console.error(String(error));
  failed = true;
} finally {
  sandbox.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

function say(title, command) {
  if (title) console.log(`\n=== ${title}`);
  if (command) console.log(`$ ${command}`);
}

import { spawn } from 'node:child_process';

export interface CommandResult {
  stdout: string;
  stderr: string;
  /** Exit code; 128 + n does not occur: a command ended by a signal rejects instead. */
  code: number;
}

/** Runs a client program to its end. A code other than 0 is a result, not an error: tests assert on it. */
export function runCommand(
  bin: string,
  args: readonly string[],
  options: { env: NodeJS.ProcessEnv; input?: string },
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(bin, args, { env: options.env, stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    // A program that does not read its input may be gone before all of it is written.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === null) reject(new Error(`${bin} ${args.join(' ')}: ended by ${signal ?? 'a signal'}\n${stderr}`));
      else resolve({ stdout, stderr, code });
    });
  });
}

/**
 * The environment for a server or its client: the caller's without what would point it at another server (a developer's
 * NOMAD_ADDR, VAULT_TOKEN, KUBECONFIG, ...) and without AWS_CA_BUNDLE, with which Nomad's agent refuses to start.
 */
export function cleanEnvironment(additions: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const foreign = /^(NOMAD|VAULT|CONSUL|KUBE|ETCD|BAO)|^AWS_CA_BUNDLE$/;
  const kept = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  return { ...Object.fromEntries(kept), ...additions };
}

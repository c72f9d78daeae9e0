import type { Workspace } from '../e2e/workspace.ts';

export interface Diagnosis {
  readonly code: number | null;
  readonly findings: readonly Readonly<
    Record<'check' | 'severity' | 'connection' | 'object' | 'message' | 'advice', string>
  >[];
  /** What is wrong: `severity check object`, in the order of the checks. */
  readonly ailments: readonly string[];
  /** All messages and advice. */
  readonly words: string;
}

/** Asks `nomad-access doctor`. */
export async function diagnose(workspace: Workspace, ...args: string[]): Promise<Diagnosis> {
  const { code, stdout, stderr } = await workspace.run('doctor', '-o', 'json', ...args);
  if (!stdout.startsWith('{')) throw new Error(`doctor ended with ${String(code)}: ${stdout}${stderr}`);
  const { findings } = JSON.parse(stdout) as Pick<Diagnosis, 'findings'>;
  const wrong = findings.filter(({ severity }) => severity !== 'ok');
  return {
    code,
    findings,
    ailments: wrong.map(({ severity, check, object }) => `${severity} ${check} ${object}`.trim()),
    words: wrong.map(({ message, advice }) => `${message} ${advice}`).join('\n'),
  };
}

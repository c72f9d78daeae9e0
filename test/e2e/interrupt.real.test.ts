import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { startNomad, type NomadServer } from '../servers/nomad.ts';
import { LiveNomad } from './live.ts';
import { Counter, startProxy, type Hook, type Proxy } from './proxy.ts';
import { manifest, Workspace } from './workspace.ts';

const TOKENS = 60;

describe.skipIf(!requireServers('nomad'))('Ctrl-C in the middle of an apply', () => {
  let nomad: NomadServer;
  let live: LiveNomad;
  let proxy: Proxy;
  let hook: Hook = () => 'pass';
  let workspace: Workspace;

  beforeAll(async () => {
    nomad = await startNomad({ client: false });
    live = new LiveNomad(nomad);
    proxy = await startProxy(nomad.address, new Counter(), () => hook);
  });
  afterAll(async () => {
    await proxy.close();
    await nomad.stop();
  });
  beforeEach(() => {
    workspace = new Workspace({ nomad: { address: proxy.address, token: nomad.token } });
    workspace.write(
      'tokens.yaml',
      ...Array.from({ length: TOKENS }, (_, i) =>
        manifest('AclToken', `t${String(i)}`, 'policies: [p]\nwriteSecretTo: { none: {} }'),
      ),
    );
  });

  /** Sends signals when the tenth token is being made; its reply and the later ones are held until `release`. */
  function interrupt(signals: number): {
    outcome: Promise<{ code: number | null; stdout: string; stderr: string }>;
    release: () => void;
  } {
    let release: () => void = () => undefined;
    const held = new Promise<void>((done) => (release = done));
    let posts = 0;
    const { child, outcome } = workspace.start(['apply', '-f', 'manifests', '-y']);
    const heard = new Promise<void>((done) =>
      child.stderr?.on('data', (text: Buffer) => {
        if (String(text).includes('once more ends at once')) done();
      }),
    );
    hook = async ({ method, phase }): Promise<'pass' | 'cut'> => {
      if (method !== 'POST' || phase !== 'after' || ++posts < 10) return 'pass';
      if (posts === 10) {
        child.kill('SIGINT');
        await heard;
        if (signals === 2) child.kill('SIGINT');
        else release();
      }
      await held;
      return 'pass';
    };
    return { outcome, release };
  }

  async function convergesWithoutDoubles(): Promise<void> {
    hook = () => 'pass';
    expect((await workspace.apply()).code).toBe(0);
    const names = (await live.tokens()).filter((t) => t.Name.includes('[na:')).map((t) => t.Name);
    expect(names).toHaveLength(TOKENS);
    expect(new Set(names).size).toBe(TOKENS);
    expect((await workspace.destroy()).code).toBe(0);
    expect(await live.tokens()).toHaveLength(1);
    workspace.dispose();
  }

  it('finishes what is running, records it, and says what was not begun', async () => {
    const { code, stdout, stderr } = await interrupt(1).outcome;
    expect(code).toBe(1);
    expect(stderr).toContain('finishing what is running');
    expect(stdout).toMatch(/interrupted: (\d+ objects of )?AclToken default\//);
    const made = (await live.tokens()).filter((t) => t.Name.includes('[na:')).length;
    expect(made).toBeGreaterThanOrEqual(10);
    expect(made).toBeLessThan(TOKENS);
    expect(stdout).toContain(`${String(made)} done`);
    await convergesWithoutDoubles();
  });

  it('a second one ends at once, and the next apply finds what was begun', async () => {
    const { outcome, release } = interrupt(2);
    expect((await outcome).code).toBe(130);
    release();
    await convergesWithoutDoubles();
  });
});

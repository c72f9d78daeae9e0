import { describe, expect, it } from 'vitest';
import { Simulation } from './simulation.ts';
import { prepareSources } from './sources.ts';

const METHOD = {
  type: 'OIDC',
  tokenLocality: 'local',
  maxTokenTtl: 3600,
  config: { oidcDiscoveryUrl: 'http://sso', oidcClientId: 'nomad', oidcClientSecret: { env: 'NOMAD_ACCESS_SECRET_B' } },
};

describe('what is declared all at once', () => {
  it('stands at once: nobody waits for a retry because what it depends on came while it was planned', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const s = new Simulation(seed);
      prepareSources(s);
      s.declare({
        'AclPolicy p0': { rules: '' },
        'AclAuthMethod m0': METHOD,
        'AclBindingRule b0': { authMethod: 'm0', bindType: 'policy', bindName: 'p0' },
        'VaultNomadSecretsEngine engine': {},
        'VaultNomadRole c0': { engine: 'engine', policies: ['p0'] },
      });
      s.start();
      await s.run(2_000);
      expect(s.nomad.acl.bindingRules.rows.size, s.log.join('\n')).toBe(1);
      s.end();
    }
  });
});

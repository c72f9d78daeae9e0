import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { requireServers } from '../servers/binaries.ts';
import { connection, HOME, policy, resource, secret, until, useCluster } from './cluster.ts';
import type { RunningOperator } from './running.ts';

const GRANTS = 'grants: { managementTokens: true }';
const METHOD = ['aclauthmethod', 'operator'] as const;
const RULE = ['aclbindingrule', 'operator'] as const;

describe.skipIf(!requireServers('etcd', 'kube-apiserver', 'kubectl', 'nomad', 'vault'))(
  'the auth method that the operator itself logs in by',
  () => {
    const rig = useCluster();
    let pem: string;
    let tokenFile: string;

    beforeAll(async () => {
      const { publicKey, privateKey } = await generateKeyPair('RS256');
      pem = await exportSPKI(publicKey);
      tokenFile = join(rig.cluster.folder, 'operator.jwt');
      const jwt = new SignJWT({ sub: 'operator' }).setProtectedHeader({ alg: 'RS256' }).setAudience('nomad');
      writeFileSync(tokenFile, await jwt.setIssuedAt().setExpirationTime('1h').sign(privateKey));
    });

    const byToken = (): string => connection('NomadCluster', 'default', rig.cluster.nomad.address, 'nomad', GRANTS);
    const byJwt = (): string =>
      `apiVersion: nomad-access.io/v1alpha1
kind: NomadCluster
metadata:
  name: default
spec:
  address: ${rig.cluster.nomad.address}
  auth: { jwt: { method: operator, tokenFile: ${tokenFile} } }
  ${GRANTS}`;
    const start = (): Promise<RunningOperator> => rig.cluster.operator(['--allow-address', rig.cluster.nomad.address]);
    const live = async (): Promise<string[]> => {
      const { liveNomad } = rig.cluster;
      const { body } = await liveNomad.request<{ Name: string }[]>('GET', '/v1/acl/auth-methods');
      return body.map(({ Name }) => Name);
    };

    /** It was made with a token; since then the operator logs in by it, and has never known another way. */
    async function loggedIn(): Promise<RunningOperator> {
      const { cluster } = rig;
      const method = `type: JWT
tokenLocality: local
maxTokenTtl: 1h
config:
  jwtValidationPubKeys: [${JSON.stringify(pem)}]
  boundAudiences: [nomad]
  claimMappings: { sub: sub }`;
      const rule = `authMethod: operator\nselector: value.sub == "operator"\nbindType: management`;
      await cluster.apply(secret(HOME, 'nomad', cluster.nomad.token), byToken());
      await cluster.apply(resource('AclAuthMethod', 'operator', method), resource('AclBindingRule', 'operator', rule));
      const first = await start();
      await cluster.waitReady(...METHOD);
      await cluster.waitReady(...RULE);
      await first.stop();
      await cluster.apply(byJwt());
      await cluster.kubectl('delete', 'secret', 'nomad', '-n', HOME);
      const operator = await start();
      await cluster.apply(policy('before'));
      await cluster.waitReady('aclpolicy', 'before');
      return operator;
    }
    async function deleted(): Promise<void> {
      await rig.cluster.kubectl('delete', '--wait=false', METHOD.join('/'), RULE.join('/'));
      for (const [kind, name] of [METHOD, RULE]) {
        const refused = await rig.cluster.untilReason('InUse', kind, name);
        expect(JSON.stringify(refused.status)).toContain('change spec.auth of NomadCluster default first');
      }
    }
    const untilGone = (): Promise<unknown> =>
      until('both are gone', async () =>
        ((await rig.cluster.get(...METHOD)) ?? (await rig.cluster.get(...RULE))) ? undefined : true,
      );

    it('stays when it is deleted, with its rule; says so; and goes by itself once there is another login', async () => {
      const { cluster } = rig;
      const operator = await loggedIn();
      await deleted();
      await until('it is told of', async () =>
        (await cluster.kubectl('get', 'events', '-A', '-o', 'json')).includes('InUse') ? true : undefined,
      );
      // A new process has no token that it could live on.
      await operator.stop();
      await start();
      await cluster.apply(policy('after'));
      await cluster.waitReady('aclpolicy', 'after');
      expect(await live()).toEqual(['operator']);

      await cluster.apply(secret(HOME, 'nomad', cluster.nomad.token), byToken());
      await untilGone();
      expect(await live()).toEqual([]);
    });

    it('goes with everything, the connection included', async () => {
      const { cluster } = rig;
      await loggedIn();
      await deleted();
      await cluster.kubectl('delete', '--wait=false', 'nomadcluster/default', 'aclpolicy/before');
      await untilGone();
      await until('the policy is gone', async () =>
        (await cluster.get('aclpolicy', 'before')) === undefined ? true : undefined,
      );
      expect([await live(), await cluster.liveNomad.policyNames()]).toEqual([[], []]);
    });
  },
);

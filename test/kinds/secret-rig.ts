import { digestOf, type Io, type NomadApi, type SecretContent, type StoredSecret } from '../../src/contract/target.ts';
import { kubernetesSecretObject } from '../../src/kinds/acl-token/kubernetes-secret.ts';
import type { Desired, Live, Owned } from '../../src/plan/step.ts';

/** Of the AclToken. */
export const UID = 'uid-of-the-acltoken';
const SECRET_IDS = new Map([
  ['a', 'c0ffee00-0000-4000-8000-00000000000a'],
  ['b', 'c0ffee00-0000-4000-8000-00000000000b'],
]);
export const secretIdOf = (accessorId: string): string => SECRET_IDS.get(accessorId) ?? '';

/** What is known of a Secret that we have written. */
export function stored(data: Readonly<Record<string, string>>, more: Partial<StoredSecret> = {}): StoredSecret {
  const digests = Object.fromEntries(Object.entries(data).map(([key, value]) => [key, digestOf(value)]));
  return { uid: 'uid-1', resourceVersion: '7', digests, writtenFor: 'ci', owners: [UID], ...more };
}
export const holding = (accessorId: string, more?: Partial<StoredSecret>): StoredSecret =>
  stored({ accessor_id: accessorId, secret_id: secretIdOf(accessorId) }, more);

/** One Secret and a Nomad with its tokens, and what was written and asked. */
export class Rig {
  readonly written: [SecretContent, { resourceVersion: string } | undefined][] = [];
  readonly asked: string[] = [];
  readonly io: Io;

  constructor(public secret: StoredSecret | undefined) {
    const nomad: Partial<NomadApi> = {
      get: <T>(path: string) => {
        this.asked.push(path);
        const id = path.slice(path.lastIndexOf('/') + 1);
        const SecretID = SECRET_IDS.get(id);
        return Promise.resolve(SecretID === undefined ? undefined : { body: { SecretID } as T, index: 1 });
      },
    };
    this.io = {
      nomad: () => nomad as NomadApi,
      secrets: { take: () => undefined, put: () => undefined },
      kubernetesSecrets: {
        read: () => Promise.resolve(this.secret),
        write: (content: SecretContent, was) => {
          this.written.push([content, was]);
          const data = Object.entries(content.data).flatMap(([key, value]) => (value === null ? [] : [[key, value]]));
          this.secret = stored(Object.fromEntries(data) as Record<string, string>);
          return Promise.resolve(this.secret);
        },
        remove: () => Promise.resolve(),
      },
    } as Partial<Io> as Io;
  }

  async read(desired: Desired | undefined, owned: Owned | undefined): Promise<Live | undefined> {
    const request = {
      connection: 'local',
      desired: desired ? [desired] : [],
      owned: owned ? [owned] : [],
      cached: () => undefined,
    };
    const { objects } = await kubernetesSecretObject.read(this.io, request, new AbortController().signal);
    return objects.get('default/login') as Live | undefined;
  }
}

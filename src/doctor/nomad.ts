import { messageOf, TargetError } from '../contract/errors.ts';
import { ACLS_OFF } from '../kinds/operator-token.ts';
import { problem, warning, type Found, type NomadCheck, type NomadPatient } from './check.ts';

export const nomadReachable: NomadCheck = {
  name: 'nomad-reachable',
  fine: 'answers, and has a leader',
  isBasic: true,
  async look(nomad, { signal }) {
    const answer = await nomad.probe('/v1/status/leader', signal).catch((error: unknown) => messageOf(error));
    const { address } = nomad.api;
    if (typeof answer === 'string')
      return [
        problem(
          '',
          `nobody answers at ${address}: ${answer}`,
          'Is Nomad running, and are address and TLS settings right?',
        ),
      ];
    if (answer.status === 200 && answer.text.trim() !== '""') return [];
    const words = answer.text.trim().slice(0, 200);
    return [
      problem(
        '',
        `${address} has no leader: ${String(answer.status)} ${words}`,
        'Nothing can be written until the servers have elected one: look at `nomad server members` and the log of the servers.',
      ),
    ];
  },
};

/** A token that ends sooner than this is worth a word; milliseconds. */
const SOON_MS = 24 * 60 * 60_000;

interface Self {
  readonly AccessorID: string;
  readonly Type: string;
  readonly ExpirationTime: string | null;
}

export const nomadToken: NomadCheck = {
  name: 'nomad-token',
  fine: 'ACLs are on, and our token is one of management',
  isBasic: true,
  async look(nomad, { signal, now }) {
    if (nomad.trouble !== undefined) return [await withoutToken(nomad, nomad.trouble, signal)];
    try {
      const self = (await nomad.api.get<Self>(SELF, {}, signal))?.body;
      return self === undefined ? [] : judged(self, now());
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      if (isOff(error.message)) return [OFF];
      if (error.class !== 'denied') throw error;
      return [await refused(nomad, signal)];
    }
  },
};

const SELF = '/v1/acl/token/self';
const isOff = (words: string): boolean => words.includes('ACL support disabled') || words.includes(ACLS_OFF);
const OFF = problem(
  '',
  'ACLs are off: everybody may do everything',
  'Set `acl { enabled = true }` in the configuration of every agent, restart them, and run `nomad acl bootstrap` once.',
);
const NEVER_BOOTSTRAPPED = problem(
  '',
  'ACLs are on, and nobody has bootstrapped them yet: whoever comes first can, and may do everything from then on',
  'Declare `spec.bootstrap` and run `nomad-access bootstrap`, or run `nomad acl bootstrap` once and keep what it prints.',
);

async function refused(nomad: NomadPatient, signal: AbortSignal): Promise<Found> {
  if ((await nomad.wasBootstrapped(signal)) === false) return NEVER_BOOTSTRAPPED;
  return problem(
    '',
    'Nomad does not accept our token: it does not know it, or it has expired',
    'Give a valid management token.',
  );
}

/** @param trouble why there is none. */
async function withoutToken(nomad: NomadPatient, trouble: string, signal: AbortSignal): Promise<Found> {
  if (isOff((await nomad.probe(SELF, signal)).text)) return OFF;
  if ((await nomad.wasBootstrapped(signal)) === false) return NEVER_BOOTSTRAPPED;
  return problem('', `we have no token for it: ${trouble}`, 'Give a management token, or correct spec.auth.');
}

function judged({ AccessorID, Type, ExpirationTime }: Self, now: number): Found[] {
  if (AccessorID === ACLS_OFF) return [OFF];
  const object = `token/${AccessorID}`;
  if (Type !== 'management')
    return [
      problem(
        object,
        `our token is one of type ${Type}: it can neither read nor write ACLs`,
        'Give a management token: `nomad acl token create -type management`.',
      ),
    ];
  if (ExpirationTime === null || Date.parse(ExpirationTime) - now > SOON_MS) return [];
  return [warning(object, `our token ends at ${ExpirationTime}`, 'Give one that lasts, before it ends.')];
}

import { randomUUID } from 'node:crypto';
import type { NomadTokens, TokenPlace } from '../contract/credential.ts';
import { TargetError } from '../contract/errors.ts';

/** Nomad's ACLs, and whose they are. */
export interface Bootstrapped {
  readonly accessorId: string;
  /** SecretID of a token that Nomad takes. */
  readonly token: string;
  /** Whether it was done now, and not before. */
  readonly isNew: boolean;
}

export interface Bootstrapping {
  readonly nomad: NomadTokens;
  readonly place: TokenPlace;
  /** Asked once, right before anything is written anywhere. Default: yes. */
  readonly mayBegin?: (() => Promise<boolean>) | undefined;
  readonly signal: AbortSignal;
}

/** What no token is: whether ACLs are bootstrapped can be told by what Nomad says to it. */
const NO_TOKEN = 'none';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Others may write to the place between our look and our write. */
const TRIES = 5;

/**
 * Bootstraps Nomad's ACLs, unless it was done, with a token that lies in its place before Nomad hears of it: a crash, or a
 * reply that is lost, loses nothing, because the next try asks with what lies there. Of several at once, the first to write
 * the place decides, and all of them get the same token. A token that lies there is never written over: where Nomad has lost
 * it, because the cluster was made anew, it is bootstrapped with that one again.
 *
 * @throws TargetError; `denied` where the ACLs are bootstrapped and what is in the place is not known there.
 */
export async function bootstrapped(bootstrapping: Bootstrapping): Promise<Bootstrapped> {
  const { nomad, place, signal } = bootstrapping;
  for (let tries = 0; tries < TRIES; tries++) {
    const token = await place.read(signal);
    if (token !== undefined) return bootstrappedWith(token, bootstrapping);
    if ((await nomad.bootstrap(NO_TOKEN, signal)) !== 'invalid') return bootstrappedMeanwhile(bootstrapping);
    await askFirst(bootstrapping);
    const chosen = randomUUID();
    if (await place.create(chosen, signal)) return bootstrappedWith(chosen, { ...bootstrapping, mayBegin: undefined });
  }
  throw denied(
    `${place.name}: something is there that can be neither read nor written: remove it, or name another place`,
  );
}

/** Nothing was in the place, and then Nomad was bootstrapped: another one may have done both in between. */
async function bootstrappedMeanwhile(bootstrapping: Bootstrapping): Promise<Bootstrapped> {
  const { place, signal } = bootstrapping;
  const token = await place.read(signal);
  if (token !== undefined) return bootstrappedWith(token, bootstrapping);
  throw denied(`Nomad's ACLs are bootstrapped already, and there is nothing in ${place.name}: ${PUT_THERE}${RESET}`);
}

async function bootstrappedWith(token: string, bootstrapping: Bootstrapping): Promise<Bootstrapped> {
  const { nomad, place, signal } = bootstrapping;
  const noSecretId = denied(`what is in ${place.name} is no SecretID (a UUID): move it away, or ${PUT_THERE}`);
  // Nomad takes it for a signed token, and answers 500 where it is none.
  if (!UUID.test(token)) throw noSecretId;
  const known = await nomad.lookup(token, signal);
  if (known !== undefined) return { ...known, token, isNew: false };
  if (bootstrapping.mayBegin !== undefined && (await nomad.bootstrap(NO_TOKEN, signal)) === 'invalid')
    await askFirst(bootstrapping);
  const reply = await nomad.bootstrap(token, signal);
  if (reply === 'invalid') throw noSecretId;
  const now = await arrived(token, bootstrapping, reply === 'done');
  if (now !== undefined) return { ...now, token, isNew: reply === 'done' };
  throw denied(
    `Nomad's ACLs are bootstrapped, but not with the token in ${place.name}, which is unknown there${REPLICAS}: ${PUT_THERE}${RESET}`,
  );
}

/** Another region than the authoritative one hears of the token later: also where somebody else, or a lost reply, made it. */
async function arrived(
  token: string,
  { nomad, signal }: Bootstrapping,
  isCertain: boolean,
): Promise<{ readonly accessorId: string } | undefined> {
  await nomad.arrived(token, signal).catch((error: unknown) => {
    if (isCertain || signal.aborted) throw error;
  });
  return nomad.lookup(token, signal);
}

async function askFirst({ mayBegin }: Bootstrapping): Promise<void> {
  if (mayBegin === undefined || (await mayBegin())) return;
  throw denied("Nomad's ACLs are not bootstrapped: nothing was done");
}

const REPLICAS = ' (a region that is not the authoritative one knows it once it is replicated)';
const PUT_THERE = 'put a management token there in its stead';
/** `nomad acl bootstrap` tells the index, and the leader looks for the file in the folder of its server. */
const RESET =
  ", or, where none is left, have Nomad allow it once more: write the reset index that `nomad acl bootstrap` tells into acl-bootstrap-reset in the server folder of the leader's data directory";

function denied(message: string): TargetError {
  return new TargetError(message, { class: 'denied' });
}

import { TargetError } from '../contract/errors.ts';
import type { NomadApi } from '../contract/target.ts';

/** Accessor ID of what a Nomad whose ACLs are off has for everybody's token, a client's (1.11.3). */
export const ACLS_OFF = 'acls-disabled';

/** The token that we ourselves act by. */
export interface OperatorToken {
  readonly AccessorID: string;
  readonly Type: string;
}

/** Looks that are under way. The lists that are read together all ask, and one answer does for them. */
const looks = new WeakMap<
  NomadApi,
  { readonly signal: AbortSignal; readonly answer: Promise<OperatorToken | undefined> }
>();

/** @returns undefined where Nomad knows no token of that kind: a workload identity. @throws TargetError */
export function operatorToken(api: NomadApi, signal: AbortSignal): Promise<OperatorToken | undefined> {
  const known = looks.get(api);
  if (known?.signal === signal) return known.answer;
  const answer = look(api, signal).finally(() => looks.delete(api));
  looks.set(api, { signal, answer });
  return answer;
}

async function look(api: NomadApi, signal: AbortSignal): Promise<OperatorToken | undefined> {
  return (await api.get<OperatorToken>('/v1/acl/token/self', {}, signal))?.body;
}

/**
 * For lists that Nomad shortens without a word to what the asking token may see: what is missing there would look
 * deleted.
 * @throws TargetError `denied` for any other than a management token.
 */
export async function requireManagement(api: NomadApi, signal: AbortSignal): Promise<void> {
  const token = await operatorToken(api, signal);
  const type = token?.Type;
  if (type === 'management') return;
  if (token?.AccessorID === ACLS_OFF)
    throw new TargetError(`${api.address}: ACLs are off there: set \`acl { enabled = true }\` on every agent`, {
      class: 'denied',
    });
  throw new TargetError(
    `${api.address}: the token given for this NomadCluster is ${type === undefined ? 'no ACL token' : `a ${type} token`}, and Nomad shows it only the policies that it holds itself: give a management token`,
    { class: 'denied' },
  );
}

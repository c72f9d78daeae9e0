import { fixedCredential, type Credential } from '../contract/credential.ts';
import type { HttpResponse } from '../http/http.ts';

/**
 * One request with the token of now, and once more with another one where the first was refused because it was revoked,
 * rotated or expired: a refused request was not carried out.
 * @throws TargetError also where there is no token now.
 */
export async function authenticated(
  credential: Credential | undefined,
  send: (token: string | undefined) => Promise<HttpResponse>,
  isRefusal: (response: HttpResponse) => boolean,
): Promise<HttpResponse> {
  const token = credential?.token();
  const response = await send(token);
  if (credential === undefined || token === undefined || !isRefusal(response)) return response;
  return (await credential.replaced(token)) ? send(credential.token()) : response;
}

/** A text is a token that stays what it is. */
export function credentialOf(token: Credential | string | undefined): Credential | undefined {
  return typeof token === 'string' ? fixedCredential(token) : token;
}

import { TargetError } from '../contract/errors.ts';

/** What is said of a refusal by something else: a page may ask for a password, and its text is not repeated. */
export function foreignRefusal(server: 'Nomad' | 'Vault', text: string): string {
  return isPage(text)
    ? `what answers there is not ${server} (it sends an HTML page)`
    : `what answers there is not ${server}: is the address right, and does a proxy in between reach ${server}?`;
}

export function isPage(text: string): boolean {
  return /^\s*<(!doctype|html)/i.test(text);
}

/**
 * Something else answers in the server's place: the default page of a proxy, a login page. Nothing follows from such an
 * answer, not even that an object is gone. The text of it may be anything, and is not repeated; it has no status,
 * because the server gave none.
 * @param ambiguous whether the request may have reached the server all the same, and must not be sent again unseen.
 */
export function foreignAnswer(
  server: 'Nomad' | 'Vault',
  request: string,
  status: number,
  ambiguous = false,
): TargetError {
  return new TargetError(
    `${request}: what answers there (status ${String(status)}) is not ${server}: is the address right, and does a proxy in between reach ${server}?`,
    { class: 'transient', ambiguous },
  );
}

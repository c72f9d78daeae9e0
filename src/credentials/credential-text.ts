import type { Credential } from '../contract/credential.ts';
import { TargetError } from '../contract/errors.ts';
import type { Unreadable } from '../plan/step.ts';

/** What a credential is called in messages. */
export type CredentialName = 'token' | 'SecretID';

/** A text that can be sent, or why there is none. */
export type Found = { readonly text: string } | { readonly trouble: Unreadable };

/** What stands where a credential belongs. @param where for messages: the file's path, the Secret's key. */
export function textIn(content: string, where: string, name: CredentialName): Found {
  const text = content.trim();
  if (text === '') return denied(`${where} is empty: it must hold the ${name}`);
  if (!/^[\x21-\x7e]+$/.test(text))
    return denied(`${where} holds no ${name}: there are characters in it that none has`);
  return { text };
}

export function denied(error: string): { readonly trouble: Unreadable } {
  return { trouble: { error, reason: 'Denied' } };
}

/** What a request gets to hear that can't be sent for want of a credential. */
export function withoutCredential({ error, reason }: Unreadable): TargetError {
  return new TargetError(error, { class: reason === 'Unavailable' ? 'transient' : 'denied' });
}

/** What can't be had as long as we run. @param error why, and what to do. */
export function noCredential(error: string): Credential {
  const { trouble } = denied(error);
  return {
    trouble,
    token: () => {
      throw withoutCredential(trouble);
    },
    replaced: () => Promise.resolve(false),
    close: () => Promise.resolve(),
  };
}

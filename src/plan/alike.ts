import { resourceText, type Step } from './step.ts';

/** `GET http://127.0.0.1:4646/v1/acl/policies: no answer` → the server, and what it did not do. */
const REQUEST = /^[A-Z]+ (\w+:\/\/[^/\s]*)\S*: /;

/** The message without the path of the request: equal for everything that one broken connection keeps us from. */
export function causeText(message: string): string {
  return message.replace(REQUEST, '$1: ');
}

/** Items in groups of the same key, in the order of the first of each; an item without a key stands alone. */
export function grouped<T>(items: readonly T[], keyOf: (item: T) => string | undefined): T[][] {
  const groups: T[][] = [];
  const byKey = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = key === undefined ? undefined : byKey.get(key);
    if (group !== undefined) {
      group.push(item);
      continue;
    }
    const started = [item];
    groups.push(started);
    if (key !== undefined) byKey.set(key, started);
  }
  return groups;
}

/** Equal for refusals that say the same; undefined for a step that has something of its own to say. */
export function refusalKey({ action, changes, reason, message }: Step): string | undefined {
  if (action !== 'refuse') return undefined;
  if (reason === 'Blocked') return reason;
  return changes.length > 0 ? undefined : `${reason} ${causeText(message)}`;
}

/** One message for steps of the same refusalKey. */
export function sharedMessage([first, ...others]: readonly Step[]): string {
  if (first === undefined) return '';
  if (others.every((s) => s.message === first.message)) return first.message;
  return first.reason === 'Blocked' ? 'each depends on something that is refused' : causeText(first.message);
}

const MOST_NAMES = 3;

/** `2000 objects of AclPolicy default/a, AclPolicy default/b, AclPolicy default/c and 997 more` */
export function objectsText(steps: readonly Step[]): string {
  const names = [...new Set(steps.map(resourceText))];
  const more = names.length - MOST_NAMES;
  const shown = names.slice(0, MOST_NAMES).join(', ');
  return `${String(steps.length)} objects of ${shown}${more > 0 ? ` and ${String(more)} more` : ''}`;
}

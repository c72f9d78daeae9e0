import { TargetError } from '../../contract/errors.ts';
import type { Reading, ReadRequest } from '../../contract/kind.ts';
import type { Live, Unreadable } from '../../plan/step.ts';

/** Reads each object that a request names by its own request; one that can't be read does not hide the others. */
export async function readEach(
  request: ReadRequest,
  read: (name: string) => Promise<Live | undefined>,
): Promise<Reading> {
  const names = new Set([...request.desired.map((d) => d.key.name), ...request.owned.map((o) => o.key.name)]);
  const found = new Map<string, Live | Unreadable>();
  const readOne = async (name: string): Promise<void> => {
    try {
      const live = await read(name);
      if (live !== undefined) found.set(name, live);
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      found.set(name, { error: error.message, reason: error.class === 'denied' ? 'Denied' : 'Unavailable' });
    }
  };
  await Promise.all([...names].map(readOne));
  return { objects: found };
}

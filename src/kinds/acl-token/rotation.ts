import { z } from 'zod';
import type { SpecRule } from '../../contract/kind.ts';
import type { Rotation } from '../nomad-token/rotation.ts';
import { celSeconds, duration, seconds, type Duration } from '../schema.ts';

/** The fields of a spec that say how its tokens follow one another. */
export interface RotationSpec {
  readonly rotation?: { readonly interval?: Duration | undefined; readonly overlap: Duration } | undefined;
  readonly expirationTtl?: Duration | undefined;
}

export const rotationField = z
  .strictObject({
    interval: duration
      .optional()
      .describe(
        'Age at which a token gets a successor; longer than the overlap. Where omitted, two thirds of what expirationTtl leaves beside the overlap.',
      ),
    overlap: duration
      .default('5m')
      .describe(
        'How long the former token lives on once the secret of its successor is where it shall be: the time that readers have to fetch it.',
      ),
  })
  .optional()
  .describe(
    'The token is replaced again and again: a new one is made and its secret written, then the former one is deleted. With expirationTtl, in time before that is over.',
  );

/** Milliseconds; undefined where the token does not rotate. */
export function rotationOf({ rotation, expirationTtl }: RotationSpec): Rotation | undefined {
  if (rotation === undefined) return undefined;
  const overlap = seconds(rotation.overlap);
  const left = expirationTtl === undefined ? 0 : seconds(expirationTtl) - overlap;
  const interval = rotation.interval === undefined ? Math.floor((left * 2) / 3) : seconds(rotation.interval);
  return { interval: interval * 1000, overlap: overlap * 1000 };
}

const INTERVAL = celSeconds('rotation.interval');
const OVERLAP = celSeconds('rotation.overlap');
const TTL = celSeconds('expirationTtl');
const WITH_INTERVAL = 'has(self.rotation) && has(self.rotation.interval)';

/** What holds of every rotation. */
export const overlapRules: readonly SpecRule[] = [
  {
    cel: `!has(self.rotation) || ${OVERLAP} >= 1`,
    holds: ({ rotation }: RotationSpec) => rotation === undefined || seconds(rotation.overlap) >= 1,
    path: 'rotation.overlap',
    message: 'must be at least 1s',
  },
  {
    cel: `!(${WITH_INTERVAL}) || ${OVERLAP} < ${INTERVAL}`,
    holds: ({ rotation }: RotationSpec) =>
      rotation?.interval === undefined || seconds(rotation.overlap) < seconds(rotation.interval),
    path: 'rotation.overlap',
    message: 'must be shorter than the interval (5m where omitted): no more than two tokens live at once',
  },
];

export const rotationRules: readonly SpecRule[] = [
  {
    cel: '!has(self.rotation) || has(self.rotation.interval) || has(self.expirationTtl)',
    holds: ({ rotation, expirationTtl }: RotationSpec) =>
      rotation === undefined || rotation.interval !== undefined || expirationTtl !== undefined,
    path: 'rotation.interval',
    message: 'must be set where there is no expirationTtl',
  },
  ...overlapRules,
  {
    cel: `!(${WITH_INTERVAL}) || !has(self.expirationTtl) || ${INTERVAL} + ${OVERLAP} < ${TTL}`,
    holds: ({ rotation, expirationTtl }: RotationSpec) =>
      rotation?.interval === undefined ||
      expirationTtl === undefined ||
      seconds(rotation.interval) + seconds(rotation.overlap) < seconds(expirationTtl),
    path: 'rotation.interval',
    message: 'interval and overlap (5m where omitted) must together be shorter than expirationTtl',
  },
  {
    cel: `!has(self.rotation) || has(self.rotation.interval) || !has(self.expirationTtl) || ${OVERLAP} * 3 <= ${TTL}`,
    holds: ({ rotation, expirationTtl }: RotationSpec) =>
      rotation === undefined ||
      rotation.interval !== undefined ||
      expirationTtl === undefined ||
      seconds(rotation.overlap) * 3 <= seconds(expirationTtl),
    path: 'rotation.overlap',
    message: 'must be at most a third of expirationTtl (5m where omitted): set a shorter one, or the interval',
  },
  {
    cel: '!has(self.rotation) || !has(self.accessorId)',
    holds: ({ rotation, accessorId }: RotationSpec & { readonly accessorId?: string | undefined }) =>
      rotation === undefined || accessorId === undefined,
    path: 'rotation',
    message: 'a token that is named by accessorId is never made, so it can not rotate: omit one of the two',
  },
];

import type { Desired, Live } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { markerOf } from './marker.ts';
import type { MarkedType, Match } from './match.ts';

type Verdict = Pick<Desired, 'verdict'>;

/** Nothing is made of an object whose marker was imitated. */
export function imitated({ noun, markedField }: MarkedType, match: Match): Verdict | undefined {
  if (match.is !== 'conflict') return undefined;
  const { id = '', fields } = match.live;
  return conflict(
    `${noun} ${id} carries the marker of this resource (${stringIn(fields, markedField)}), but the inventory ` +
      'does not know it and it differs from the declaration: delete it on Nomad, or make the declaration equal to it',
  );
}

/** Two that manage one object would change it in turns for ever. @param live named by a resource that did not make it. */
export function ofAnother({ noun, markedField }: MarkedType, live: Live | undefined): Verdict {
  const marked = stringIn(live?.fields, markedField);
  if (markerOf(marked) === undefined) return {};
  return conflict(
    `${noun} ${live?.id ?? ''} carries the marker of a resource that made it (${marked}) and manages it, here or in another ` +
      `installation: change that one instead; if there is none any more, take the marker out of its ${markedField} on Nomad`,
  );
}

function conflict(message: string): Verdict {
  return { verdict: { action: 'refuse', reason: 'Conflict', message } };
}

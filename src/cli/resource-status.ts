import { liveOf } from '../engine/compose.ts';
import { contextOf, kindOf, type World } from '../engine/world.ts';
import { grouped } from '../plan/alike.ts';
import { isUnreadable, keyText, resourceText, type Owned, type PlannedStep, type ResourceId } from '../plan/step.ts';

/** A resource as `status -o json` prints it. */
export interface ResourceStatus extends ResourceId {
  readonly ready: 'True' | 'False' | 'Unknown';
  /** A reason of the plan; `Recorded` where only the inventory is known and everything in it is there. */
  readonly reason: string;
  readonly message: string;
  /** Empty where nothing of it is there. */
  readonly live: Readonly<Record<string, unknown>>;
  readonly drift: readonly Drift[];
}

interface Drift {
  readonly object: string;
  readonly action: string;
  readonly fields: readonly string[];
}

/** Each declared or recorded resource beside its live objects. */
export function declaredStatuses(world: World, steps: readonly PlannedStep[]): ResourceStatus[] {
  return grouped(steps, ({ step }) => resourceText(step)).map((group) => statusOf(world, group));
}

function statusOf(world: World, group: readonly PlannedStep[]): ResourceStatus {
  const { kind = '', namespace = '', name = '' } = group[0]?.step ?? {};
  const decisive = mostSerious(group)?.step;
  const resource = world.resources.get(resourceText({ kind, namespace, name }));
  const isThere = group.some((s) => s.live !== undefined);
  const live = isThere && resource ? kindOf(world, resource).status?.(resource, group, contextOf(world)) : undefined;
  return {
    kind,
    namespace,
    name,
    ready: readiness(group),
    reason: decisive?.reason ?? 'InSync',
    message: decisive?.message ?? '',
    live: live ?? {},
    drift: group
      .filter((s) => s.step.action !== 'noop')
      .map((s) => ({ object: s.step.object, action: s.step.action, fields: s.step.changes.map((c) => c.path) })),
  };
}

const SERIOUSNESS = ['refuse', 'delete', 'replace', 'create', 'update', 'noop'];

function mostSerious(group: readonly PlannedStep[]): PlannedStep | undefined {
  const rank = ({ step }: PlannedStep): number => SERIOUSNESS.indexOf(step.action) + (step.reason === 'InSync' ? 1 : 0);
  return [...group].sort((a, b) => rank(a) - rank(b))[0];
}

function readiness(group: readonly PlannedStep[]): ResourceStatus['ready'] {
  const reasons = new Set(group.map((s) => s.step.reason));
  if (reasons.has('Unavailable') || reasons.has('Denied') || reasons.has('Suspended')) return 'Unknown';
  if (reasons.has('Expired') || reasons.has('Gone')) return 'False';
  return group.every((s) => s.step.action === 'noop') ? 'True' : 'False';
}

/** What is recorded, where nobody says what is declared: whether it is still there. */
export function recordedStatuses(world: World): ResourceStatus[] {
  const resources = grouped(world.ledger.all(), (owned) => resourceText(owned.resource));
  return resources.map((objects) => recordedStatus(world, objects));
}

type ObjectState = 'live' | 'gone' | 'unreadable';

function recordedStatus(world: World, owned: readonly Owned[]): ResourceStatus {
  const { kind = '', namespace = '', name = '' } = owned[0]?.resource ?? {};
  const objects = owned.map((entry) => {
    const live = liveOf(world, entry);
    const state: ObjectState = live === undefined ? 'gone' : isUnreadable(live) ? 'unreadable' : 'live';
    return { object: keyText(entry.key), state, ...(entry.id !== undefined && { id: entry.id }) };
  });
  const unreadable = owned.map((entry) => liveOf(world, entry)).find((live) => isUnreadable(live));
  const of = (state: ObjectState): string[] => objects.filter((o) => o.state === state).map((o) => o.object);
  const drift = of('unreadable').map((object) => ({ object, action: 'refuse', fields: [] }));
  const rest = { kind, namespace, name, live: { objects }, drift };
  if (isUnreadable(unreadable))
    return { ...rest, ready: 'Unknown', reason: unreadable.reason, message: unreadable.error };
  if (of('gone').length > 0)
    return { ...rest, ready: 'False', reason: 'Gone', message: `no longer there: ${of('gone').join(', ')}` };
  return { ...rest, ready: 'True', reason: 'Recorded', message: '' };
}

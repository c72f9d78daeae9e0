import { diff, fingerprint, type Change } from './diff.ts';
import {
  isUnreadable,
  isWrite,
  keyText,
  readable,
  resourceText,
  type Action,
  type DeletionPolicy,
  type Desired,
  type Live,
  type ObjectKey,
  type Owned,
  type PlannedStep,
  type Reason,
  type ResourceId,
  type Unreadable,
} from './step.ts';

/** An object of ours that nothing declares any more, with what its type says about its deletion. */
export interface Undeclared {
  readonly owned: Owned;
  /** As declared now, or as the inventory remembers it where nothing declares the resource any more. */
  readonly suspended: boolean;
  readonly deletionPolicy: DeletionPolicy;
  readonly live: Live | Unreadable | undefined;
  /** The fingerprint of the live object, by its type's rules: tells whether an interrupted create made it. */
  readonly liveFingerprint?: string;
  /** Why it must stay. */
  readonly retained?: string;
  /** What its deletion does beyond itself. */
  readonly note?: string;
  /** The object whose deletion deletes it. */
  readonly partOf?: ObjectKey;
  /** The object that it stands in. */
  readonly within?: ObjectKey;
  /** The object that can't do without it. */
  readonly neededBy?: ObjectKey;
}

/** Whether an object that is planned elsewhere can be depended on: it stands, it is refused, or it is yet to be made. */
export type DependencyState = 'stands' | 'refused' | 'missing';

export interface PlanInput {
  /** Every declared object, those of one resource together, dependencies first. */
  readonly desired: readonly Desired[];
  /** What the inventory holds for a key. */
  readonly owned: (key: ObjectKey) => Owned | undefined;
  readonly undeclared: readonly Undeclared[];
  /** Of objects that are not among `desired`; without it, all of them stand. */
  readonly dependencies?: (key: ObjectKey) => DependencyState;
}

/**
 * What must be done so that the live objects become the declared ones: one step for each live object.
 * Pure and total: the same input gives the same steps, and every input gives steps.
 */
export function plan(input: PlanInput): PlannedStep[] {
  const declared = holdBack(
    block(
      coupleAdoptions(input.desired.map((desired) => planDesired(desired, input.owned(desired.key)))),
      input.dependencies ?? (() => 'stands'),
    ),
  );
  const replaced = new Set(input.desired.flatMap((d) => (d.replaces ? [keyText(d.replaces.key)] : [])));
  const undeclared = input.undeclared.map((object) => planUndeclared(object, replaced.has(keyText(object.owned.key))));
  const following = followWhole(input.undeclared, vanishWithin(input.undeclared, undeclared));
  return [...declared, ...spare(declared, keepNeeded(input.undeclared, following))];
}

/** One declared object. The order of the cases is the order of precedence. */
export function planDesired(desired: Desired, owned: Owned | undefined): PlannedStep {
  const make = maker(desired.key, desired.resource, { desired, ...(owned && { owned }) }, desired.dependsOn);
  const { live, verdict } = desired;
  if (desired.suspended) return make('noop', 'Suspended', [], '', readable(live));
  if (verdict !== undefined) return make(verdict.action, verdict.reason, [], verdict.message, readable(live));
  if (isUnreadable(live)) return make('refuse', live.reason, [], live.error);
  if (live === undefined) return planAbsent(desired, owned, make);
  const changes = changesOf(desired, live);
  if (live.protected !== undefined)
    return make('refuse', 'Protected', changes, `it is never changed: ${live.protected}`, live);
  return isOurs(desired, live, owned)
    ? planOurs(desired, changes, live, make)
    : planForeign(desired, changes, live, make);
}

type Make = (action: Action, reason: Reason, changes?: readonly Change[], message?: string, live?: Live) => PlannedStep;

function maker(
  key: ObjectKey,
  resource: ResourceId,
  parts: { desired?: Desired; owned?: Owned },
  dependsOn: readonly ObjectKey[],
): Make {
  return (action, reason, changes = [], message = '', live) => ({
    step: { action, ...resource, object: keyText(key), changes, reason, message },
    key,
    ...parts,
    ...(live && { live }),
    dependsOn,
  });
}

function planAbsent(desired: Desired, owned: Owned | undefined, make: Make): PlannedStep {
  if (desired.mustExist)
    return make(
      'refuse',
      'NotFound',
      [],
      `it is named by the manifest but does not exist: correct the name, or remove it`,
    );
  if (desired.replaces !== undefined) {
    const changes = changesOf(desired, desired.replaces.live);
    const { because } = desired.replaces;
    if (because !== undefined)
      return make('replace', 'Rotated', changes, `takes the place of ${keyText(desired.replaces.key)}: ${because}`);
    const fixed = changes.filter((c) => ruleOf(desired, c)?.onChange === 'replace').map((c) => c.path);
    return make(
      'replace',
      'Immutable',
      changes,
      `takes the place of ${keyText(desired.replaces.key)}: ${fixed.join(', ')} can't be changed in place`,
    );
  }
  return make('create', owned?.state === 'owned' ? 'Missing' : 'New', changesOf(desired, undefined));
}

function planOurs(desired: Desired, changes: readonly Change[], live: Live, make: Make): PlannedStep {
  if (changes.length === 0 && desired.stays) return make('noop', 'Rotated', [], desired.stays.message, live);
  if (changes.length === 0) return make('noop', 'InSync', [], '', live);
  return refusedChange(desired, changes, live, make) ?? make('update', 'Changed', changes, '', live);
}

function planForeign(desired: Desired, changes: readonly Change[], live: Live, make: Make): PlannedStep {
  const policy = desired.adoptionPolicy;
  if (policy === 'Never') {
    return make(
      'refuse',
      'Conflict',
      changes,
      'it exists already and is not ours, and adoptionPolicy is Never: remove it from the server, or set another name',
      live,
    );
  }
  if (changes.length === 0)
    return make('noop', 'Adopted', [], 'it exists already, identical: it is ours from now on, deletion included', live);
  const isIdentical = changes.every((c) => ruleOf(desired, c)?.untold === true);
  if (policy === 'Always' || isIdentical) {
    const adopted = isIdentical
      ? 'it exists already, identical but for what the server does not tell, which is written: it is ours from now on, deletion included'
      : 'it exists already and is not ours: adoptionPolicy Always makes it equal and ours, deletion included';
    return refusedChange(desired, changes, live, make) ?? make('update', 'Adopted', changes, adopted, live);
  }
  const message =
    `${keyText(desired.key)} exists already, is not ours, and differs from ${resourceText(desired.resource)} in ` +
    `${changes.map((c) => c.path).join(', ')}: make the two equal, or set spec.adoptionPolicy: Always to overwrite it`;
  return make('refuse', 'Conflict', changes, message, live);
}

function refusedChange(desired: Desired, changes: readonly Change[], live: Live, make: Make): PlannedStep | undefined {
  const fixed = changes.filter((c) => ruleOf(desired, c)?.onChange !== undefined).map((c) => c.path);
  if (fixed.length === 0) return undefined;
  return make(
    'refuse',
    'Immutable',
    changes,
    `${fixed.join(', ')} can't be changed in place: put it back on the server, or delete the object there`,
    live,
  );
}

function changesOf(desired: Desired, live: Live | undefined): Change[] {
  return diff(desired.fields, live?.fields, desired.rules).map((c) => ({ ...c, path: fullPath(desired, c.path) }));
}

function fullPath(desired: Desired, path: string): string {
  return ['spec', desired.pathPrefix, path].filter((part) => part !== undefined).join('.');
}

function ruleOf(desired: Desired, change: Change): Desired['rules'][string] | undefined {
  const prefix = fullPath(desired, '');
  return desired.rules[change.path.slice(prefix.length)];
}

/** Ours is what the inventory holds; a pending entry only if the live object is what was about to be made. */
function isOurs(desired: Desired, live: Live, owned: Owned | undefined): boolean {
  if (owned === undefined) return false;
  return owned.state === 'owned' || owned.intent === fingerprint(live.fields, desired.rules);
}

/** A foreign object that belongs together with others is adopted with them or not at all. */
function coupleAdoptions(steps: readonly PlannedStep[]): PlannedStep[] {
  const byKey = new Map(steps.map((s) => [keyText(s.key), s]));
  return steps.map((planned) => {
    if (planned.step.reason !== 'Adopted') return planned;
    const refused = planned.desired?.adoptWith
      ?.map((key) => byKey.get(keyText(key)))
      .find((s) => s?.step.action === 'refuse');
    return refused === undefined
      ? planned
      : refuse(
          planned,
          'Conflict',
          `it is not ours, and neither is ${refused.step.object} on it: ${refused.step.message}`,
        );
  });
}

/** What depends on something refused is not written either; what depends on something that is yet to be made waits. */
function block(steps: readonly PlannedStep[], dependencies: (key: ObjectKey) => DependencyState): PlannedStep[] {
  const states = new Map<string, DependencyState>(
    steps.map((s) => [keyText(s.key), s.step.action === 'refuse' ? 'refused' : 'stands']),
  );
  const stateOf = (key: ObjectKey): DependencyState => states.get(keyText(key)) ?? dependencies(key);
  return inDependencyOrder(steps).map((planned) => {
    if (!isWrite(planned)) return planned;
    const undeclared = new Set(planned.desired?.lacking?.map(keyText).filter((key) => !states.has(key)));
    const cause = planned.dependsOn.find((key) => stateOf(key) !== 'stands' || undeclared.has(keyText(key)));
    if (cause === undefined) return planned;
    const state = stateOf(cause);
    states.set(keyText(planned.key), state === 'refused' ? 'refused' : 'missing');
    return refuse(
      planned,
      state === 'refused' ? 'Blocked' : 'Waiting',
      `it depends on ${keyText(cause)}, which ${WHY[state]}`,
    );
  });
}

const WHY: Readonly<Record<DependencyState, string>> = {
  refused: 'is refused',
  missing: 'does not exist yet',
  stands: 'does not exist, and nothing declares it',
};

/** What is made for another object is not made while that one is refused: a token lives whose secret nobody has. */
function holdBack(steps: readonly PlannedStep[]): PlannedStep[] {
  // Several resources may name one object, and only some of them be refused it.
  const placeOf = ({ step }: PlannedStep, key: ObjectKey): string => `${resourceText(step)} ${keyText(key)}`;
  const refused = new Map(
    steps.filter((s) => s.step.action === 'refuse').map((s) => [placeOf(s, s.key), s.step] as const),
  );
  return steps.map((planned) => {
    const { action } = planned.step;
    const place = planned.desired?.madeFor;
    if (place === undefined || (action !== 'create' && action !== 'replace')) return planned;
    const cause = refused.get(placeOf(planned, place));
    if (cause === undefined) return planned;
    // What comes for its other dependencies does not free it.
    const waiting = { ...planned, dependsOn: [...planned.dependsOn, place] };
    return refuse(waiting, 'Blocked', `it is made for ${cause.object}, which is refused: ${cause.message}`);
  });
}

/** Nothing of a resource is deleted while something of it is refused: what would take its place is not there. */
function spare(declared: readonly PlannedStep[], undeclared: readonly PlannedStep[]): PlannedStep[] {
  const refused = new Map(
    declared.filter((s) => s.step.action === 'refuse').map((s) => [resourceText(s.step), s.step.object]),
  );
  return undeclared.map((planned) => {
    const cause = refused.get(resourceText(planned.step));
    if (cause === undefined || planned.step.action !== 'delete') return planned;
    return refuse(planned, 'Blocked', `it stays while ${cause} of the same resource is refused`);
  });
}

function refuse(planned: PlannedStep, reason: Reason, message: string): PlannedStep {
  return { ...planned, step: { ...planned.step, action: 'refuse', reason, message } };
}

/**
 * Dependencies first; otherwise the order stays as it was. There are no cycles among writes: types depend on earlier types only.
 */
export function inDependencyOrder(steps: readonly PlannedStep[]): PlannedStep[] {
  const byKey = new Map(steps.map((s) => [keyText(s.key), s]));
  const seen = new Set<PlannedStep>();
  const ordered: PlannedStep[] = [];
  const visit = (planned: PlannedStep): void => {
    if (seen.has(planned)) return;
    seen.add(planned);
    for (const key of planned.dependsOn) {
      const dependency = byKey.get(keyText(key));
      if (dependency) visit(dependency);
    }
    ordered.push(planned);
  };
  steps.forEach(visit);
  return ordered;
}

/** One object of ours that nothing declares any more. */
export function planUndeclared(object: Undeclared, isReplaced: boolean): PlannedStep {
  const { owned, live } = object;
  const make = maker(owned.key, owned.resource, { owned }, []);
  if (object.suspended)
    return make(
      'noop',
      'Suspended',
      [],
      'it is suspended: not deleted until an apply with spec.suspend: false',
      readable(live),
    );
  if (isUnreadable(live)) return make('refuse', live.reason, [], live.error);
  if (live === undefined) return make('noop', 'Gone', [], 'it is gone already');
  if (owned.id !== undefined && live.id !== owned.id)
    return make('noop', 'Gone', [], 'ours is gone; what stands in its place is not ours and stays');
  if (owned.state === 'pending' && owned.intent !== object.liveFingerprint) {
    return make('noop', 'Gone', [], 'it was never made by us; what stands there is not ours and stays');
  }
  if (object.deletionPolicy === 'Orphan' && !isReplaced)
    return make('noop', 'Orphaned', [], 'it stays, and is ours no longer', live);
  if (live.protected !== undefined)
    return make('refuse', 'Protected', [], `it is never deleted: ${live.protected}`, live);
  if (object.retained !== undefined) return make('refuse', 'InUse', [], object.retained, live);
  const notes = [owned.adopted ? 'it was adopted, not made by us' : undefined, object.note].filter(
    (n) => n !== undefined,
  );
  return make('delete', isReplaced ? 'Replaced' : 'Removed', [], notes.join('; '), live);
}

/** What stood in an object of ours went with it; what is found there now belongs to whoever made the one in its place. */
function vanishWithin(objects: readonly Undeclared[], steps: readonly PlannedStep[]): PlannedStep[] {
  const byKey = new Map(steps.map((s) => [keyText(s.key), s]));
  return steps.map((planned, i) => {
    const around = objects[i]?.within ?? objects[i]?.partOf;
    if (around === undefined || planned.step.action !== 'delete') return planned;
    if (byKey.get(keyText(around))?.step.reason !== 'Gone') return planned;
    const message = `ours went with ${keyText(around)}; what stands in its place is not ours and stays`;
    return { ...planned, step: { ...planned.step, action: 'noop', reason: 'Gone', message } };
  });
}

/** What is part of another object is deleted by that one's deletion, and stays where that one stays. */
function followWhole(objects: readonly Undeclared[], steps: readonly PlannedStep[]): PlannedStep[] {
  const byKey = new Map(steps.map((s) => [keyText(s.key), s]));
  return steps.map((planned, i) => {
    const whole = objects[i]?.partOf;
    if (whole === undefined || planned.step.action !== 'delete') return planned;
    const action = byKey.get(keyText(whole))?.step.action;
    if (action === 'delete') return planned;
    return refuse(planned, 'InUse', `it goes only with ${keyText(whole)}, which stays`);
  });
}

/** What another object can't do without stays where that one stays. */
function keepNeeded(objects: readonly Undeclared[], steps: readonly PlannedStep[]): PlannedStep[] {
  const byKey = new Map(steps.map((s) => [keyText(s.key), s]));
  return steps.map((planned, i) => {
    const needy = objects[i]?.neededBy;
    if (needy === undefined || planned.step.action !== 'delete') return planned;
    if (byKey.get(keyText(needy))?.step.action !== 'refuse') return planned;
    return refuse(planned, 'InUse', `${keyText(needy)} stays, and can't do without it`);
  });
}

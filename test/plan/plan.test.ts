import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { plan, planDesired, planUndeclared, type Undeclared } from '../../src/plan/plan.ts';
import { keyText, type AdoptionPolicy, type Desired, type Live, type Owned } from '../../src/plan/step.ts';
import { Deferred } from '../../src/plan/value.ts';
import { desired, intentOf, live, owned, remembered } from './objects.ts';

const other = live({ fields: { text: 'other', list: ['x'], fixed: 1 } });

interface Case {
  readonly because: string;
  readonly desired: Desired;
  readonly owned?: Owned;
  readonly action: string;
  readonly reason: string;
}

/** The same rules, of fields that the server never tells. */
function untold({ rules }: Desired, fields: readonly string[]): Desired['rules'] {
  const isUntold = (field: string): { untold?: true } => (fields.includes(field) ? { untold: true } : {});
  return Object.fromEntries(
    Object.entries(rules).map(([field, rule]) => [field, { compare: rule.compare, ...isUntold(field) }]),
  );
}

const cases: Case[] = [
  { because: 'nothing is there', desired: desired(), action: 'create', reason: 'New' },
  { because: 'somebody deleted what is ours', desired: desired(), owned: owned(), action: 'create', reason: 'Missing' },
  {
    because: 'it is as declared',
    desired: desired({ live: live() }),
    owned: owned(),
    action: 'noop',
    reason: 'InSync',
  },
  {
    because: 'somebody changed what is ours',
    desired: desired({ live: other }),
    owned: owned(),
    action: 'update',
    reason: 'Changed',
  },
  {
    because: 'a field changed that cannot be changed in place',
    desired: desired({ live: live({ fields: { text: 'hello', list: ['x', 'y'], fixed: 2 } }) }),
    owned: owned(),
    action: 'refuse',
    reason: 'Immutable',
  },
  {
    because: 'an identical foreign object is adopted',
    desired: desired({ live: live() }),
    action: 'noop',
    reason: 'Adopted',
  },
  {
    because: 'a different foreign object is left alone',
    desired: desired({ live: other }),
    action: 'refuse',
    reason: 'Conflict',
  },
  {
    because: 'adoptionPolicy Always overwrites it',
    desired: desired({ live: other, adoptionPolicy: 'Always' }),
    action: 'update',
    reason: 'Adopted',
  },
  {
    because: 'adoptionPolicy Never leaves even an identical one alone',
    desired: desired({ live: live(), adoptionPolicy: 'Never' }),
    action: 'refuse',
    reason: 'Conflict',
  },
  {
    because: 'a foreign object is identical in all that the server tells, and the rest is written',
    desired: desired({ live: other, rules: untold(desired(), ['text', 'list', 'fixed']) }),
    action: 'update',
    reason: 'Adopted',
  },
  {
    because: 'a foreign object differs in what the server tells, too',
    desired: desired({ live: other, rules: untold(desired(), ['text']) }),
    action: 'refuse',
    reason: 'Conflict',
  },
  {
    because: 'adoptionPolicy Never leaves alone even what is identical in all that the server tells',
    desired: desired({ live: other, rules: untold(desired(), ['text', 'list', 'fixed']), adoptionPolicy: 'Never' }),
    action: 'refuse',
    reason: 'Conflict',
  },
  {
    because: 'our own interrupted create is not foreign',
    desired: desired({ live: live(), adoptionPolicy: 'Never' }),
    owned: owned({ state: 'pending', intent: intentOf(desired()) }),
    action: 'noop',
    reason: 'InSync',
  },
  {
    because: 'what stands where we were about to create is not what we would have made',
    desired: desired({ live: other }),
    owned: owned({ state: 'pending', intent: intentOf(desired()) }),
    action: 'refuse',
    reason: 'Conflict',
  },
  {
    because: 'the own token is never touched',
    desired: desired({ live: live({ protected: 'it is our own' }), adoptionPolicy: 'Always' }),
    owned: owned(),
    action: 'refuse',
    reason: 'Protected',
  },
  {
    because: 'an object that could not be read is not taken for absent',
    desired: desired({ live: { error: 'no answer', reason: 'Unavailable' } }),
    owned: owned(),
    action: 'refuse',
    reason: 'Unavailable',
  },
  { because: 'suspend stops everything', desired: desired({ suspended: true }), action: 'noop', reason: 'Suspended' },
  {
    because: 'a named object that is missing is not made',
    desired: desired({ mustExist: true }),
    action: 'refuse',
    reason: 'NotFound',
  },
  {
    because: 'a replacement names what it replaces',
    desired: desired({ replaces: { key: { connection: 'default', type: 'thing', name: 'old' }, live: other } }),
    action: 'replace',
    reason: 'Immutable',
  },
];

describe('plan of a declared object', () => {
  it.each(cases)('is $action/$reason when $because', (c) => {
    const { step } = planDesired(c.desired, c.owned);
    expect(step).toMatchObject({ action: c.action, reason: c.reason, object: 'default/thing/a' });
  });

  it('names the fields by their path in the spec, with both sides', () => {
    const { step } = planDesired(desired({ live: other, pathPrefix: 'things.a' }), owned());
    expect(step.changes).toEqual([
      { path: 'spec.things.a.text', before: 'other', after: 'hello', sensitive: false },
      { path: 'spec.things.a.list', before: ['x'], after: ['x', 'y'], sensitive: false },
    ]);
  });

  it('names both sides of a conflict and what to do', () => {
    const { step } = planDesired(desired({ live: other }), undefined);
    expect(step.message).toContain('default/thing/a');
    expect(step.message).toContain('Thing default/a');
    expect(step.message).toContain('adoptionPolicy: Always');
  });

  it('shows a value that is known only later as such', () => {
    const { step } = planDesired(
      desired({ fields: { text: new Deferred('x (known after apply)'), list: [], fixed: 0 } }),
      undefined,
    );
    expect(step.changes).toEqual([
      { path: 'spec.text', before: null, after: 'x (known after apply)', sensitive: false },
    ]);
  });

  it('never shows a sensitive value', () => {
    const secret = { ...desired(), rules: { text: { compare: 'text', sensitive: true } as const } };
    expect(JSON.stringify(planDesired({ ...secret, live: other }, owned()).step)).not.toMatch(/hello|other/);
  });
});

describe('plan of an object that nothing declares any more', () => {
  it.each([
    { because: 'it is ours', object: { owned: owned(), live: live() }, action: 'delete', reason: 'Removed' },
    { because: 'it is gone already', object: { owned: owned(), live: undefined }, action: 'noop', reason: 'Gone' },
    {
      because: 'it shall stay',
      object: { owned: owned({ deletionPolicy: 'Orphan' as const }), live: live() },
      action: 'noop',
      reason: 'Orphaned',
    },
    {
      because: 'it is suspended',
      object: { owned: owned({ suspended: true }), live: live() },
      action: 'noop',
      reason: 'Suspended',
    },
    {
      because: 'it is protected',
      object: { owned: owned(), live: live({ protected: 'own' }) },
      action: 'refuse',
      reason: 'Protected',
    },
    {
      because: 'foreign things hang on it',
      object: { owned: owned(), live: live(), retained: 'roles' },
      action: 'refuse',
      reason: 'InUse',
    },
    {
      because: 'we never made it',
      object: { owned: owned({ state: 'pending' as const, intent: 'mine' }), live: live(), liveFingerprint: 'theirs' },
      action: 'noop',
      reason: 'Gone',
    },
    {
      because: 'it could not be read',
      object: { owned: owned(), live: { error: 'no', reason: 'Unavailable' as const } },
      action: 'refuse',
      reason: 'Unavailable',
    },
  ])('is $action/$reason when $because', ({ object, action, reason }) => {
    expect(planUndeclared({ ...remembered(object.owned), ...object }, false).step).toMatchObject({ action, reason });
  });
});

describe('plan of several objects', () => {
  const gone = (o: Owned): Undeclared => ({ owned: o, live: undefined, ...remembered(o) });
  const key = (name: string): Desired['key'] => ({ connection: 'default', type: 'thing', name });

  it('refuses what depends on something refused', () => {
    const base = desired({ key: key('base'), live: other });
    const dependent = desired({ key: key('dependent'), dependsOn: [key('base')] });
    const steps = plan({ desired: [base, dependent], owned: () => undefined, undeclared: [] });
    expect(steps.map((s) => s.step.reason)).toEqual(['Conflict', 'Blocked']);
  });

  describe('of which one is made for another', () => {
    const place = (over: Partial<Desired> = {}): Desired =>
      desired({ key: key('place'), live: other, dependsOn: [key('made')], ...over });
    const made = (over: Partial<Desired> = {}): Desired =>
      desired({ key: key('made'), madeFor: key('place'), ...over });
    const outcome = (objects: readonly Desired[], isOwned = false): Record<string, string> => {
      const ownedAt = (at: Desired['key']): Owned | undefined =>
        isOwned && at.name === 'made' ? owned({ key: at }) : undefined;
      const steps = plan({ desired: objects, owned: ownedAt, undeclared: [], dependencies: () => 'missing' });
      return Object.fromEntries(steps.map(({ step, key: { name } }) => [`${step.name}/${name}`, step.reason]));
    };

    it('makes nothing that nobody would get, and says why', () => {
      const steps = plan({ desired: [made(), place()], owned: () => undefined, undeclared: [] });
      expect(steps.map(({ step }) => [step.object, step.reason])).toEqual([
        ['default/thing/made', 'Blocked'],
        ['default/thing/place', 'Conflict'],
      ]);
      expect(steps[0]?.step.message).toBe(
        `it is made for default/thing/place, which is refused: ${steps[1]?.step.message ?? ''}`,
      );
    });

    it('makes it where that one is made, or put right', () => {
      for (const live of [undefined, other])
        expect(outcome([made(), place({ live, adoptionPolicy: 'Always' })])).toMatchObject({ 'a/made': 'New' });
    });

    it('makes nothing where that one waits for something else', () => {
      const waits = place({ live: undefined, dependsOn: [key('made'), key('elsewhere')] });
      expect(outcome([made(), waits])).toEqual({ 'a/made': 'Blocked', 'a/place': 'Waiting' });
    });

    it('makes nothing in the place of what is there', () => {
      const old = { key: key('old'), live: other };
      expect(outcome([made({ replaces: old }), place()])).toMatchObject({ 'a/made': 'Blocked' });
    });

    it('keeps right what is there', () => {
      expect(outcome([made({ live: live() }), place()], true)).toMatchObject({ 'a/made': 'InSync' });
      const changed = live({ fields: { text: 'by hand', list: [], fixed: 1 } });
      expect(outcome([made({ live: changed }), place()], true)).toMatchObject({ 'a/made': 'Changed' });
    });

    it('makes it for the one who has the place, and not for the others who name it', () => {
      const resource = { ...desired().resource, name: 'rival' };
      const rivals = made({ key: key('rivals'), resource });
      const refused = place({ live: undefined, resource, dependsOn: [key('rivals')] });
      const verdict = { action: 'refuse', reason: 'Conflict', message: 'it is taken' } as const;
      const all = [made(), place({ live: undefined }), rivals, { ...refused, verdict }];
      expect(outcome(all)).toEqual({
        'a/made': 'New',
        'a/place': 'New',
        'rival/rivals': 'Blocked',
        'rival/place': 'Conflict',
      });
    });
  });

  it('does not adopt a mount whose configuration is somebody else’s', () => {
    const mount = desired({ key: key('mount'), live: live(), adoptWith: [key('config')] });
    const config = desired({ key: key('config'), live: other, dependsOn: [key('mount')] });
    const steps = plan({ desired: [mount, config], owned: () => undefined, undeclared: [] });
    expect(steps.map((s) => s.step.action)).toEqual(['refuse', 'refuse']);
  });

  it('adopts a mount that has no configuration yet', () => {
    const mount = desired({ key: key('mount'), live: live(), adoptWith: [key('config')] });
    const config = desired({ key: key('config'), dependsOn: [key('mount')] });
    const steps = plan({ desired: [mount, config], owned: () => undefined, undeclared: [] });
    expect(steps.map((s) => s.step.reason)).toEqual(['Adopted', 'New']);
  });

  it('deletes nothing of a resource while something of it is refused', () => {
    const conflict = desired({ live: other });
    const dropped = { ...gone(owned({ key: key('dropped') })), live: live() };
    const elsewhere = {
      ...gone(owned({ key: key('x'), resource: { ...conflict.resource, name: 'x' } })),
      live: live(),
    };
    const steps = plan({ desired: [conflict], owned: () => undefined, undeclared: [dropped, elsewhere] });
    expect(steps.map((s) => [s.step.action, s.step.reason])).toEqual([
      ['refuse', 'Conflict'],
      ['refuse', 'Blocked'],
      ['delete', 'Removed'],
    ]);
  });

  it.each([
    ['stands', 'New'],
    ['missing', 'Waiting'],
    ['refused', 'Blocked'],
  ] as const)('of which one depends on an object elsewhere that is %s', (state, reason) => {
    const dependent = desired({ dependsOn: [key('elsewhere')] });
    const steps = plan({ desired: [dependent], owned: () => undefined, undeclared: [], dependencies: () => state });
    expect(steps.map((s) => s.step.reason)).toEqual([reason]);
  });

  it('keeps a part for as long as its whole stays', () => {
    const whole = { ...gone(owned({ key: key('whole') })), live: live(), retained: 'foreign roles' };
    const part = { ...gone(owned({ key: key('part') })), live: live(), partOf: key('whole') };
    const steps = plan({ desired: [], owned: () => undefined, undeclared: [whole, part] });
    expect(steps.map((s) => s.step.reason)).toEqual(['InUse', 'InUse']);
  });

  it.each([
    ['stays where that one is somebody else’s', 'theirs', ['noop', 'noop']],
    ['is deleted with it where that one is ours', 'ours', ['delete', 'delete']],
  ])('what stands in another object %s', (_what, id, actions) => {
    const around = { ...gone(owned({ key: key('around'), id: 'ours' })), live: live({ id }) };
    const inside = { ...gone(owned({ key: key('inside') })), live: live(), within: key('around') };
    const part = { ...gone(owned({ key: key('part') })), live: live(), partOf: key('around') };
    for (const object of [inside, part]) {
      const steps = plan({ desired: [], owned: () => undefined, undeclared: [around, object] });
      expect(steps.map((s) => s.step.action)).toEqual(actions);
    }
  });
});

const value = fc.record({
  text: fc.string({ maxLength: 5 }),
  list: fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 4 }),
  fixed: fc.integer({ min: 0, max: 2 }),
});
const arbitrary = fc.record({
  wanted: value,
  live: fc.option(value, { nil: undefined }),
  isOwned: fc.boolean(),
  adoptionPolicy: fc.constantFrom<AdoptionPolicy>('IfIdentical', 'Always', 'Never'),
});

describe('laws of the plan', () => {
  it('after a step was carried out there is nothing left to do', () => {
    fc.assert(
      fc.property(arbitrary, ({ wanted, live: fields, isOwned, adoptionPolicy }) => {
        const d = desired({ fields: wanted, live: fields && live({ fields }), adoptionPolicy });
        const first = planDesired(d, isOwned ? owned() : undefined).step;
        if (first.action === 'refuse' || first.action === 'noop') return;
        const after: Live = { fields: wanted };
        expect(planDesired({ ...d, live: after }, owned()).step).toMatchObject({ action: 'noop', reason: 'InSync' });
      }),
    );
  });

  it('the order of sets and their repetitions never change a plan', () => {
    fc.assert(
      fc.property(value, fc.infiniteStream(fc.integer()), (fields, random) => {
        const next = (): number => random.next().value as number;
        const shuffled = [...fields.list, ...fields.list].sort(() => (next() % 2 === 0 ? 1 : -1));
        const d = desired({ fields, live: live({ fields: { ...fields, list: shuffled } }) });
        expect(planDesired(d, owned()).step.action).toBe('noop');
      }),
    );
  });

  it('a foreign object that differs is never written but under Always', () => {
    fc.assert(
      fc.property(arbitrary, ({ wanted, live: fields, adoptionPolicy }) => {
        if (fields === undefined || adoptionPolicy === 'Always') return;
        const { action } = planDesired(
          desired({ fields: wanted, live: live({ fields }), adoptionPolicy }),
          undefined,
        ).step;
        expect(['noop', 'refuse']).toContain(action);
      }),
    );
  });

  it('every object gets exactly one step', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 8 }), (names) => {
        const objects = names.map((name, i) => {
          const before = names[i - 1];
          const dependsOn = before === undefined ? [] : [{ connection: 'default', type: 'thing', name: before }];
          return desired({ key: { connection: 'default', type: 'thing', name }, dependsOn });
        });
        const steps = plan({ desired: [...objects].reverse(), owned: () => undefined, undeclared: [] });
        expect(steps.map((s) => keyText(s.key))).toEqual(objects.map((o) => keyText(o.key)));
      }),
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { rotationOf } from '../../src/kinds/acl-token/rotation.ts';
import { resource } from './planning.ts';
import { Rotating } from './rotating.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const file = { writeSecretTo: { file: { path: 'secret' } } };
const none = { writeSecretTo: { none: {} } };
/** Every hour, with ten minutes in which two live. */
const hourly = { policies: ['read'], rotation: { interval: '1h', overlap: '10m' }, ...file };

function started(spec: object = hourly): Rotating {
  const it = new Rotating(spec);
  it.settle();
  return it;
}
const told = (rotating: Rotating): string[] =>
  rotating.plan().map(({ step }) => [step.action, step.reason, step.message].filter((s) => s !== '').join(' '));

describe('a token that rotates', () => {
  it('has a successor when its interval is over and not a moment before', () => {
    const rotating = started();
    rotating.now = HOUR - 1;
    expect(rotating.settle()).toEqual([]);
    expect(rotating.dueAt).toBe(HOUR);
    rotating.now = HOUR;
    expect(rotating.settle()).toEqual(['replace Rotated acl-token', 'update Changed file']);
    expect([rotating.inFile, rotating.alive]).toEqual(['t2', ['t1', 't2']]);
  });

  it('is told of in the plan: why the new one is made, and when the old one goes', () => {
    const rotating = started();
    rotating.now = HOUR + 5 * MINUTE;
    expect(told(rotating)[1]).toMatch(
      /^replace Rotated takes the place of .*: its interval was over at 1970-01-01T01:00:00/,
    );
    expect(told(rotating)[0]).toContain('stays until 600s after');
    rotating.settle();
    expect(told(rotating)[0]).toBe(
      'noop Rotated it was followed by another one, and stays until 1970-01-01T01:15:00.000Z',
    );
  });

  it('dies when readers have had its successor for the overlap', () => {
    const rotating = started();
    rotating.pass(HOUR + 10 * MINUTE - 1);
    expect(rotating.alive).toEqual(['t1', 't2']);
    rotating.now += 1;
    expect(rotating.settle()).toEqual(['delete Replaced acl-token']);
    expect(rotating.alive).toEqual(['t2']);
  });

  it('lives on as long as the secret of its successor can’t be written', () => {
    const rotating = started();
    rotating.now = HOUR;
    rotating.isFileBroken = true;
    rotating.settle();
    rotating.now += 5 * HOUR;
    expect(rotating.settle()).toEqual([]);
    expect([rotating.inFile, rotating.alive]).toEqual(['t1', ['t1', 't2']]);
    rotating.isFileBroken = false;
    rotating.settle();
    rotating.now += 10 * MINUTE - 1;
    expect(rotating.settle()).toEqual([]);
    expect(rotating.alive).toEqual(['t1', 't2']);
  });

  it('goes on rotating after somebody deleted its file', () => {
    const rotating = started();
    rotating.now += MINUTE;
    rotating.file = undefined;
    // The controller knows of no time but those of the plan that it carries out.
    const dueAt = rotating.dueAt;
    rotating.settle();
    expect(dueAt).toBe(HOUR);
    rotating.pass(HOUR);
    expect(rotating.made).toBe(2);
  });

  it('rotates once when the operator was down for days', () => {
    const rotating = started();
    rotating.now = 50 * HOUR;
    rotating.pass(30 * MINUTE);
    expect([rotating.made, rotating.alive]).toEqual([2, ['t2']]);
  });

  it.each([1, -1])('rotates at most once more for a clock that is wrong for a while (%i)', (sign) => {
    const rotating = started();
    rotating.now += 30 * MINUTE;
    rotating.now += sign * 24 * HOUR;
    rotating.skew -= sign * 24 * HOUR;
    rotating.settle();
    rotating.pass(20 * MINUTE);
    expect(rotating.made).toBe(sign === 1 ? 2 : 1);
    rotating.now -= sign * 24 * HOUR;
    rotating.skew = 0;
    rotating.settle();
    expect(rotating.made).toBeLessThanOrEqual(2);
    rotating.pass(2 * HOUR + 11 * MINUTE);
    expect(rotating.made).toBeLessThanOrEqual(4);
    expect(rotating.alive).toHaveLength(1);
  });

  it('lets the former one go after the overlap also where all clocks are set back in it', () => {
    const rotating = started({ ...hourly, ...none });
    rotating.pass(HOUR + MINUTE);
    rotating.now -= 24 * HOUR;
    rotating.settle();
    rotating.pass(10 * MINUTE);
    expect(rotating.alive).toEqual(['t2']);
  });

  it('does not rotate endlessly where Nomad’s clock is far behind', () => {
    const rotating = new Rotating({ ...hourly, expirationTtl: '2h' });
    rotating.skew = -12 * HOUR;
    rotating.settle();
    rotating.pass(3 * HOUR + MINUTE);
    expect(rotating.made).toBe(4);
  });

  it.each([
    ['the inventory', 0],
    ['the inventory, half way through an overlap,', HOUR + 5 * MINUTE],
    ['the inventory, on the eve of a rotation,', 2 * HOUR - 1],
  ])('neither rotates early nor forgets the other one when %s is lost', (_what, ms) => {
    const rotating = started();
    rotating.pass(ms);
    const { made, alive, inFile } = rotating;
    rotating.owned = [];
    rotating.settle();
    expect([rotating.made, rotating.alive, rotating.inFile]).toEqual([made, alive, inFile]);
    rotating.pass(11 * MINUTE);
    rotating.pass(10 * MINUTE);
    expect(rotating.alive).toHaveLength(1);
    expect(rotating.owned.map((o) => o.key.type).sort()).toEqual(['acl-token', 'file']);
  });

  it('that was lost with the inventory and is due is followed by another one', () => {
    const rotating = started();
    rotating.now = 3 * HOUR;
    rotating.owned = [];
    rotating.settle();
    expect([rotating.inFile, rotating.alive]).toEqual(['t2', ['t1', 't2']]);
  });

  it.each(['t1', 't2'])('is made anew when somebody deletes it in the overlap (%s)', (victim) => {
    const rotating = started();
    rotating.pass(HOUR + MINUTE);
    rotating.tokens.delete(victim);
    rotating.settle();
    expect(rotating.isAlive(rotating.inFile ?? '')).toBe(true);
    rotating.pass(10 * MINUTE);
    expect(rotating.alive).toEqual([victim === 't2' ? 't3' : 't2']);
  });

  it('gets what changes as long as it lives, and so does its successor', () => {
    const rotating = started();
    rotating.pass(HOUR + MINUTE);
    rotating.spec = { ...hourly, policies: ['read', 'write'] };
    expect(rotating.settle()).toEqual(['update Changed acl-token', 'update Changed acl-token']);
    expect([...rotating.tokens.values()].map(({ fields }) => fields['policies'])).toEqual([
      ['read', 'write'],
      ['read', 'write'],
    ]);
    expect([rotating.made, rotating.inFile]).toEqual([2, 't2']);
  });

  it('leaves readers the overlap, too, when a field that can’t be changed in place changes', () => {
    const rotating = started();
    rotating.now += MINUTE;
    rotating.spec = { ...hourly, global: true };
    expect(rotating.settle()).toEqual(['replace Immutable acl-token', 'update Changed file']);
    expect(rotating.alive).toEqual(['t1', 't2']);
    rotating.pass(10 * MINUTE);
    expect(rotating.alive).toEqual(['t2']);
  });

  it('is deleted after its overlap even where what is removed stays', () => {
    const rotating = started({ ...hourly, deletionPolicy: 'Orphan' });
    rotating.pass(HOUR + 11 * MINUTE);
    expect(rotating.alive).toEqual(['t2']);
  });

  it.each([
    ['a management token', { type: 'management', policies: [] }],
    ['a global token', { global: true }],
    ['a token whose secret is kept nowhere', none],
  ])('may be %s', (_what, more) => {
    const rotating = started({ ...hourly, ...more });
    rotating.pass(5 * HOUR + 11 * MINUTE);
    expect([rotating.made, rotating.alive]).toEqual([6, ['t6']]);
  });

  it('that is old when rotation is declared rotates at once', () => {
    const rotating = started({ policies: ['read'], ...file });
    rotating.now = 2 * HOUR;
    rotating.spec = hourly;
    expect(rotating.settle()).toEqual(['replace Rotated acl-token', 'update Changed file']);
  });

  it('stands alone when rotation is declared no more', () => {
    const rotating = started();
    rotating.pass(HOUR + MINUTE);
    rotating.spec = { policies: ['read'], ...file };
    rotating.settle();
    expect([rotating.alive, rotating.inFile]).toEqual([['t2'], 't2']);
  });
});

describe('a token that expires and rotates', () => {
  const daily = { policies: ['read'], expirationTtl: '24h', rotation: {}, ...file };

  it('is replaced at two thirds of its time, less the overlap of 5 minutes', () => {
    expect(rotationOf(resource(aclToken, daily).spec)).toEqual({ interval: 57_400 * SECOND, overlap: 5 * MINUTE });
  });

  it('never expires under its readers', () => {
    const rotating = started(daily);
    for (let hour = 0; hour < 200; hour++) {
      rotating.pass(HOUR);
      expect(rotating.isAlive(rotating.inFile ?? '')).toBe(true);
    }
  });

  it('has a successor at once where the operator was down too long, and is cleaned up while Nomad still lists it', () => {
    const rotating = started(daily);
    rotating.now = 30 * HOUR;
    expect(told(rotating).join()).toContain('it expired at 1970-01-02T00:00:00.000Z');
    expect(rotating.settle()).toEqual([
      'replace Rotated acl-token',
      'update Changed file',
      'delete Replaced acl-token',
    ]);
    expect([...rotating.tokens.keys()]).toEqual(['t2']);
  });

  it('has a successor, too, when Nomad has collected it', () => {
    const rotating = started(daily);
    rotating.now = 30 * HOUR;
    rotating.tokens.clear();
    rotating.settle();
    expect([rotating.alive, rotating.inFile]).toEqual([['t2'], 't2']);
  });
});

describe('whatever happens', () => {
  const happening = fc.oneof(
    fc.record({ what: fc.constant('time' as const), ms: fc.integer({ min: 0, max: 2 * HOUR }) }),
    fc.record({ what: fc.constant('down' as const), ms: fc.integer({ min: 0, max: 100 * HOUR }) }),
    fc.record({ what: fc.constant('crash' as const), ms: fc.integer({ min: 0, max: 3 }) }),
    fc.record({ what: fc.constant('lost inventory' as const), ms: fc.constant(0) }),
    fc.record({ what: fc.constant('edit' as const), ms: fc.integer({ min: 1, max: 3 }) }),
  );
  const specs = fc.record({
    interval: fc.integer({ min: 700, max: 3600 }),
    overlap: fc.integer({ min: 1, max: 600 }),
    ttl: fc.option(fc.integer({ min: 4300, max: 10_000 }), { nil: undefined }),
  });

  it('at most two tokens live, one after calm, and a reader who reads again within the overlap holds no dead one', () => {
    fc.assert(
      fc.property(specs, fc.array(happening, { maxLength: 12 }), ({ interval, overlap, ttl }, happenings) => {
        const spec = {
          policies: ['p'],
          rotation: { interval, overlap },
          ...file,
          ...(ttl !== undefined && { expirationTtl: ttl }),
        };
        const rotating = started(spec);
        for (const { what, ms } of happenings) {
          if (what === 'lost inventory') rotating.owned = [];
          if (what === 'edit') rotating.spec = { ...spec, policies: [`p${String(ms)}`] };
          if (what === 'edit' && rotating.owned.length === 0) rotating.spec = spec;
          if (what === 'down') rotating.now += ms;
          if (what === 'crash') rotating.settle(ms);
          else rotating.settle();
          if (what === 'time') readWhileTimePasses(rotating, ms, overlap * SECOND);
          expect(rotating.alive.length).toBeLessThanOrEqual(2);
        }
        rotating.pass(overlap * SECOND);
        rotating.pass(overlap * SECOND);
        expect(rotating.tokens.size).toBeLessThanOrEqual(2);
        expect(rotating.isAlive(rotating.inFile ?? '')).toBe(true);
        expect(rotating.inFile).toBe([...rotating.tokens.keys()].at(-1));
      }),
      { numRuns: 150 },
    );
  });

  /** A reader reads the file, and a moment less than the overlap later its token is still good. */
  function readWhileTimePasses(rotating: Rotating, ms: number, overlap: number): void {
    const end = rotating.now + ms;
    while (rotating.now + overlap < end) {
      const read = rotating.inFile ?? '';
      rotating.pass(overlap - 1);
      expect(rotating.isAlive(read)).toBe(true);
    }
  }
});

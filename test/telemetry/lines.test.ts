import { describe, expect, it } from 'vitest';
import type { ManifestError } from '../../src/contract/resource.ts';
import { cluster, done, refusedConnection, step, told } from './steps.ts';

const MINUTE = 60_000;

describe('a change in the log', () => {
  it('is one line with everything a search may want', () => {
    const { observer, entries } = told();
    observer.stepped(step(), done, 0.01234567);
    expect(entries()).toEqual([
      {
        level: 'info',
        time: expect.any(String) as string,
        msg: 'updated AclPolicy default/readonly default/acl-policy/readonly: rules',
        kind: 'AclPolicy',
        namespace: 'default',
        name: 'readonly',
        object: 'default/acl-policy/readonly',
        action: 'update',
        reason: 'Changed',
        fields: ['rules'],
        result: 'done',
        seconds: 0.0123,
      },
    ]);
  });

  it('names the changed fields and never what they hold', () => {
    const { observer, entries } = told({ level: 'debug' });
    const values = { before: 's3cret-before', after: { nested: ['s3cret-after'] }, sensitive: false };
    const secret = step({ changes: [{ path: 'config.oidcClientSecret', ...values }] });
    observer.driftFound(secret);
    observer.stepped(secret, refusedConnection, 0);
    observer.stepped(secret, done, 0);
    observer.driftCorrected(secret, 0);
    expect(JSON.stringify(entries())).toContain('config.oidcClientSecret');
    expect(JSON.stringify(entries())).not.toContain('s3cret');
  });

  it.each([
    ['info: created', step({ action: 'create', reason: 'New' }), done, ''],
    ['info: deleted', step({ action: 'delete', reason: 'Removed', changes: [] }), done, ''],
    ['info: adopted', step({ action: 'noop', reason: 'Adopted', changes: [] }), done, ''],
    ['error: failed to update', step(), { status: 'failed', message: 'no leader' }, ': no leader'],
    ['warn: did not update', step(), { status: 'skipped', message: 'a dependency failed' }, ': a dependency failed'],
    ['warn: refused', step({ action: 'refuse', reason: 'Conflict' }), { status: 'refused', message: '' }, ': Conflict'],
  ] as const)('reads "%s ..."', (head, one, outcome, tail) => {
    const { observer, messages } = told();
    observer.stepped(one, outcome, 0);
    expect(messages()).toEqual([`${head} AclPolicy default/readonly default/acl-policy/readonly${tail}`]);
  });

  it('is silent about what was in order already', () => {
    const { observer, messages } = told();
    observer.stepped(step({ action: 'noop', changes: [] }), { status: 'unchanged', message: '' }, 0);
    expect(messages()).toEqual([]);
  });
});

describe('a correction of drift', () => {
  const line = 'info: corrected drift of AclPolicy default/readonly default/acl-policy/readonly: rules';

  it('is one line, with the time since the foreign change', () => {
    const { observer, clock, entries, messages } = told();
    observer.driftFound(step());
    clock.now = 25;
    observer.stepped(step(), done, 0.002);
    observer.driftCorrected(step(), 0.025);
    expect(messages()).toEqual([line]);
    expect(entries()[0]).toMatchObject({ drift: true, seconds: 0.025 });
  });

  it('is one line, too, where the correction is told before its step', () => {
    const { observer, messages } = told();
    const one = step();
    observer.driftFound(one);
    observer.driftCorrected(one, 0.02);
    observer.stepped(one, done, 0.002);
    expect(messages()).toEqual([line]);
  });

  it('says what had failed before', () => {
    const { observer, entries, messages } = told();
    observer.driftFound(step());
    observer.stepped(step(), refusedConnection, 0);
    observer.stepped(step(), refusedConnection, 0);
    observer.stepped(step(), done, 0);
    observer.driftCorrected(step(), 3);
    expect(messages()).toEqual([expect.stringMatching(/^error: failed to update/), line]);
    expect(entries()[1]).toMatchObject({ failures: 2 });
  });

  it('of an object that was deleted by hand says so', () => {
    const { observer, messages } = told();
    const gone = step({ action: 'create', reason: 'Missing' });
    observer.driftFound(gone);
    observer.stepped(gone, done, 0);
    expect(messages()).toEqual([
      'info: corrected drift of AclPolicy default/readonly default/acl-policy/readonly: it was gone',
    ]);
  });

  it('does not hide that the declaration went away meanwhile', () => {
    const { observer, messages } = told();
    observer.driftFound(step());
    observer.stepped(step({ action: 'delete', reason: 'Removed', changes: [] }), done, 0);
    expect(messages()).toEqual(['info: deleted AclPolicy default/readonly default/acl-policy/readonly']);
  });
});

describe('a failure that lasts', () => {
  it('is told six times in a night, however often it is tried', () => {
    const { observer, clock, entries } = told();
    for (let minute = 0; minute < 600; minute++) {
      clock.now = minute * MINUTE;
      observer.stepped(step(), refusedConnection, 0);
    }
    expect(entries()).toHaveLength(6);
    const repeated = entries().reduce((sum, entry) => sum + Number(entry['repeated'] ?? 0), 0);
    expect(repeated + 6).toBeLessThanOrEqual(600);
    expect(entries()[2]).toMatchObject({ repeated: 4 });
  });

  it('is the same where only numbers and identifiers differ', () => {
    const { observer, entries } = told();
    for (const port of [50_001, 50_002]) {
      const message = `request 0c7d8a52-5b1f-${String(port)}: timeout after ${String(port)} ms`;
      observer.stepped(step(), { status: 'failed', message }, 0);
    }
    expect(entries()).toHaveLength(1);
  });

  it('is told again for another object, another cause, and after it had worked', () => {
    const { observer, entries } = told();
    observer.stepped(step(), refusedConnection, 0);
    observer.stepped(step({ object: 'default/acl-policy/b' }), refusedConnection, 0);
    observer.stepped(step(), { status: 'failed', message: 'permission denied' }, 0);
    observer.stepped(step(), refusedConnection, 0);
    observer.stepped(step(), done, 0);
    observer.stepped(step(), refusedConnection, 0);
    expect(entries().map((entry) => entry.level)).toEqual(['error', 'error', 'error', 'info', 'error']);
  });

  it('with ever new words fills no disk either', () => {
    const { observer, entries } = told();
    const word = (n: number): string => n.toString(2).replaceAll('0', 'x').replaceAll('1', 'y');
    for (let n = 0; n < 1_000; n++) observer.stepped(step(), { status: 'failed', message: word(n) }, 0);
    expect(entries().length).toBeLessThan(10);
  });
});

describe('a connection', () => {
  it('is told on transitions only', () => {
    const { observer, messages } = told();
    observer.synced(cluster, false);
    observer.synced(cluster, true);
    observer.synced(cluster, true);
    observer.synced(cluster, false, 'connection reset');
    observer.synced(cluster, false, 'connection reset');
    observer.synced(cluster, false, 'connection refused');
    observer.synced(cluster, false, 'connection reset');
    observer.synced(cluster, true);
    observer.disconnected(cluster);
    observer.disconnected(cluster);
    expect(messages()).toEqual([
      'info: synced NomadCluster default',
      'warn: lost sync with NomadCluster default: connection reset',
      'warn: not in sync with NomadCluster default: connection refused',
      'info: synced NomadCluster default',
      'info: disconnected NomadCluster default: it is declared no more',
    ]);
  });

  it('that fails from the start says why', () => {
    const { observer, messages } = told();
    observer.synced(cluster, false, '403 Permission denied');
    observer.synced(cluster, false, '403 Permission denied');
    expect(messages()).toEqual(['warn: not in sync with NomadCluster default: 403 Permission denied']);
  });
});

describe('the manifests', () => {
  const error = (over: Partial<ManifestError> = {}): ManifestError => ({
    file: 'a.yaml',
    line: 3,
    column: 5,
    path: 'spec.rules',
    message: 'is no HCL',
    ...over,
  });

  it('tell each error once while it lasts, also when it moves, and once when it is gone', () => {
    const { observer, messages } = told();
    observer.desired(2, [error(), error({ line: 9 })], 0);
    observer.desired(2, [error({ line: 4 }), error({ line: 10 })], 0);
    observer.desired(2, [error({ line: 4 })], 0);
    observer.desired(2, [], 0);
    observer.desired(2, [error()], 0);
    expect(messages()).toEqual([
      'info: 2 resources declared',
      'error: a.yaml:3:5: spec.rules: is no HCL',
      'error: a.yaml:9:5: spec.rules: is no HCL',
      'info: a.yaml: no more: spec.rules: is no HCL',
      'info: a.yaml: no more: spec.rules: is no HCL',
      'error: a.yaml:3:5: spec.rules: is no HCL',
    ]);
  });

  it('tell when deletions are held back, and when they are no more', () => {
    const { observer, messages } = told();
    for (const held of [0, 7, 7, 8, 0, 0]) observer.desired(1, [], held);
    expect(messages()).toEqual([
      'info: 1 resource declared',
      'warn: 7 deletions are held back: --allow-mass-delete lets them through',
      'warn: 8 deletions are held back: --allow-mass-delete lets them through',
      'info: no deletions are held back any more',
    ]);
  });
});

it('leadership is told when it changes', () => {
  const { observer, messages } = told();
  for (const isLeader of [false, false, true, true, false]) observer.leading(isLeader);
  expect(messages()).toEqual([
    'info: standing by: another replica acts',
    'info: leading: this replica acts',
    'warn: leading no more: this replica begins nothing',
  ]);
});

import { describe, expect, it } from 'vitest';
import { TargetError } from '../../../src/contract/errors.ts';
import type { KubernetesApi } from '../../../src/contract/kubernetes.ts';
import { Events } from '../../../src/sources/kubernetes/events.ts';
import { settled, VirtualClock } from '../../faults/virtual-clock.ts';

interface Written {
  readonly note: string;
  readonly metadata: { readonly name: string };
}

function start(fail = false): { events: Events; clock: VirtualClock; written: Written[]; warnings: string[] } {
  const clock = new VirtualClock();
  const written: Written[] = [];
  const warnings: string[] = [];
  const create = (_path: string, body: Written): Promise<unknown> => {
    written.push(body);
    return fail ? Promise.reject(new TargetError('403 no right', { class: 'denied' })) : Promise.resolve(body);
  };
  const events = new Events({
    api: { create } as unknown as KubernetesApi,
    clock: clock.ofProcess(() => true),
    instance: 'pod',
    onWarning: (message) => warnings.push(message),
  });
  return { events, clock, written, warnings };
}

const object = { metadata: { name: 'readonly', namespace: 'default', uid: 'u' } };
const notice = (note: string) => ({ type: 'Normal', reason: 'Created', action: 'Reconcile', note }) as const;

describe('Events', () => {
  it('are written in order, a burst at once and then 20 a second: the API server has other things to do', async () => {
    const { events, clock, written } = start();
    for (let i = 0; i < 100; i++) events.record('AclPolicy', object, notice(String(i)));
    await settled();
    const burst = written.length;
    await clock.runUntil(1_000);
    expect(written.length - burst).toBeGreaterThanOrEqual(19);
    expect(written.length - burst).toBeLessThanOrEqual(21);
    await clock.runUntil(10_000);
    expect(written.map(({ note }) => note)).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    expect(new Set(written.map(({ metadata }) => metadata.name)).size).toBe(100);
  });

  it('that are too many are left out, the oldest first, and their number is told', async () => {
    const { events, clock, written, warnings } = start();
    for (let i = 0; i < 3_000; i++) events.record('AclPolicy', object, notice(String(i)));
    await clock.runUntil(200_000);
    expect(written.at(-1)?.note).toBe('2999');
    expect(written.length).toBeLessThan(2_100);
    expect(warnings).toEqual([`${String(3_000 - written.length)} Events were left out: there were too many at once`]);
  });

  it('that can’t be written stop nothing, and the reason is told', async () => {
    const { events, written, warnings } = start(true);
    events.record('AclPolicy', object, notice('a'));
    events.record('AclPolicy', object, notice('b'));
    await settled();
    expect(written).toHaveLength(2);
    expect(warnings[0]).toContain('403 no right');
  });

  it('keep nobody waiting who stops', async () => {
    const { events, clock, written } = start();
    for (let i = 0; i < 200; i++) events.record('AclPolicy', object, notice(String(i)));
    await settled();
    const before = written.length;
    events.close();
    await clock.runUntil(60_000);
    expect(written).toHaveLength(before);
  });

  it('fit: a note is cut to the bytes that the API server takes, between characters', async () => {
    const { events, written } = start();
    events.record('AclPolicy', object, notice('ü'.repeat(2_000)));
    await settled();
    const note = written[0]?.note ?? '';
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1_024);
    expect(note).toMatch(/^ü+…$/);
  });
});

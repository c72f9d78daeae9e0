import { randomUUID } from 'node:crypto';
import type { Waiting } from '../contract/clock.ts';
import { TargetError, UsageError } from '../contract/errors.ts';
import type { KubernetesApi, KubernetesObject } from '../contract/kubernetes.ts';
import type { StateLock } from '../contract/state.ts';
import { HeldLock, ifAnswered, jitter, type Renewable, type RenewalTimes, withDeadline } from './held-lock.ts';

/**
 * A coordination.k8s.io/v1 Lease as client-go's leader election uses it. What it rests on:
 *
 * - Clocks of different machines are never compared. Another one's lease has ended when its record has not changed for its
 *   duration since we first saw it, by our own monotonic clock; the times in the record are for people.
 * - One that is deleted while another one holds it is taken for held as long: its holder may trust in it until it renews.
 * - Every write is a check-and-set on the resource version. So a takeover fails where the holder has renewed since we looked,
 *   and what we looked at was sent before we saw it: the holder has stopped to trust in it by then.
 * - Each `lock` has an identity of its own, so that a write whose reply was lost is known again, and a container that was
 *   started anew under the same name is not taken for its predecessor.
 *
 * From the last renewal of a holder that has died to the takeover by one that waits: at most the lease's duration and one
 * poll, beside the time of the requests (15 s + 2 s by default). After a release: at most one poll.
 */

export interface LeaseTimes extends RenewalTimes {
  /** `leaseDurationSeconds`: whole. */
  readonly leaseSeconds: number;
  /** How long one who waits pauses between two looks, at the most; milliseconds. */
  readonly pollMs: number;
}

const DEFAULT_SECONDS = 15;
/** Of the lease: for clocks that run at different rates, and for the way of a request from the check to a target. */
const MARGIN = 0.1;

/** In the proportions of client-go: a lease of 15 s is looked at every 2 s by those who wait. @param leaseSeconds whole, 1 or more. */
export function leaseTimes(leaseSeconds = DEFAULT_SECONDS): LeaseTimes {
  const leaseMs = leaseSeconds * 1000;
  return { leaseSeconds, validMs: leaseMs * (1 - MARGIN), renewMs: leaseMs / 5, pollMs: (leaseMs * 2) / 15 };
}

export interface LeaseOptions {
  readonly api: KubernetesApi;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly holder: string;
  readonly clock: Waiting;
  readonly times: LeaseTimes;
  /** Of the inventory, for messages. */
  readonly location: string;
}

interface LeaseSpec {
  /** Empty or absent: nobody holds it. */
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  /** RFC 3339 with microseconds. */
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

interface Lease extends KubernetesObject {
  readonly spec?: LeaseSpec;
}

/** @throws UsageError that names the holder where it is not waited for; the reason of `wait` once that is aborted. */
export async function lockLease(options: LeaseOptions, wait: AbortSignal | undefined): Promise<StateLock> {
  const claim = new Claim(options, wait !== undefined);
  for (let attempt = 1; ; attempt++) {
    wait?.throwIfAborted();
    const lock = await claim.stake();
    if (lock !== undefined && wait?.aborted !== true) return lock;
    await lock?.release();
    if (wait === undefined) throw claim.refusal();
    if (!wait.aborted) await options.clock.sleep(claim.pauseMs(attempt), wait).catch(() => undefined);
  }
}

/** Attempts to acquire the lease. */
class Claim {
  readonly #options: LeaseOptions;
  readonly #patient: boolean;
  readonly #identity: string;
  #lease: Lease | undefined;
  /** As it was when it was last there. */
  #known: Lease | undefined;
  /** The record as it was last seen, and since when it has been like that. */
  #seen = { record: '', since: 0 };
  /** The first request that may have acquired it: what the lease was then, and when it was sent. */
  #sent: { readonly version: string | undefined; readonly at: number } | undefined;

  constructor(options: LeaseOptions, patient: boolean) {
    this.#options = options;
    this.#patient = patient;
    this.#identity = `${options.holder}_${randomUUID()}`;
  }

  /** @returns undefined where another one holds it, or that is not known. */
  async stake(): Promise<HeldLock | undefined> {
    if (!(await this.#look())) return undefined;
    if (!isHeldBy(this.#lease, this.#identity) && this.#endsInMs() <= 0) await this.#take();
    const lease = this.#lease;
    if (!isHeldBy(lease, this.#identity) || this.#sent === undefined) return undefined;
    return HeldLock.hold(this.#options, new KeptLease(this.#options, lease, this.#identity), this.#sent.at);
  }

  /** Until the next look: no longer than what another one holds may last. */
  pauseMs(attempt: number): number {
    const { times, holder } = this.#options;
    const pauseMs = times.pollMs * (0.6 + 0.4 * jitter(holder, attempt));
    const endsInMs = this.#endsInMs();
    return endsInMs > 0 ? Math.min(pauseMs, endsInMs) : pauseMs;
  }

  refusal(): UsageError {
    const { location, times } = this.#options;
    const { holderIdentity, acquireTime, leaseDurationSeconds } = this.#lease?.spec ?? {};
    const who = holderIdentity === undefined || holderIdentity === '' ? 'somebody else' : holderIdentity;
    return new UsageError(
      `the inventory ${location} is locked by ${who} since ${acquireTime ?? 'a moment ago'}: wait for it to end; if it has died, the lock can be had ${String(leaseDurationSeconds ?? times.leaseSeconds)} s later by one who waits`,
    );
  }

  /** @returns false where the server is in trouble and is to be waited for. */
  async #look(): Promise<boolean> {
    const { api, clock, times } = this.#options;
    const answer = await ifAnswered(this.#patient, async () => ({
      lease: await withDeadline(clock, times.renewMs, (signal) => api.get<Lease>(pathOf(this.#options), signal)),
    }));
    if (answer !== undefined) this.#observe(answer.lease);
    return answer !== undefined;
  }

  #observe(lease: Lease | undefined): void {
    this.#lease = lease;
    this.#known = lease ?? this.#known;
    const record = `${lease?.metadata.uid ?? ''} ${JSON.stringify(lease?.spec)}`;
    if (record !== this.#seen.record) this.#seen = { record, since: this.#options.clock.monotonic() };
  }

  /** Until what another one holds has ended, for all we know; 0 or less: it is free. */
  #endsInMs(): number {
    const { clock, times } = this.#options;
    const { holderIdentity = '', leaseDurationSeconds = times.leaseSeconds } = this.#known?.spec ?? {};
    return holderIdentity === '' ? 0 : this.#seen.since + leaseDurationSeconds * 1000 - clock.monotonic();
  }

  /** Afterwards the lease is known as it is, ours or not. */
  async #take(): Promise<void> {
    const { api, clock, times } = this.#options;
    const version = this.#lease?.metadata.resourceVersion;
    if (this.#sent === undefined || this.#sent.version !== version) this.#sent = { version, at: clock.monotonic() };
    const body = this.#claimed(this.#lease);
    try {
      const taken = await withDeadline(clock, times.renewMs, (signal) =>
        this.#lease === undefined
          ? api.create<Lease>(collectionOf(this.#options), body, signal)
          : api.replace<Lease>(pathOf(this.#options), body, signal),
      );
      this.#observe(taken);
    } catch (error) {
      if (!(error instanceof TargetError) || !(isUndecided(error) || (this.#patient && error.class === 'transient')))
        throw error;
      await this.#look();
    }
  }

  #claimed(before: Lease | undefined): Lease {
    const { namespace, name, labels, times } = this.#options;
    const now = microTime();
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: before?.metadata ?? { namespace, name, labels },
      spec: {
        ...before?.spec,
        holderIdentity: this.#identity,
        leaseDurationSeconds: times.leaseSeconds,
        acquireTime: now,
        renewTime: now,
        leaseTransitions: before === undefined ? 0 : (before.spec?.leaseTransitions ?? 0) + 1,
      },
    };
  }
}

/** How often a write is tried where the lease was changed in between, and is still ours. */
const TRIES = 3;

class KeptLease implements Renewable {
  readonly #options: LeaseOptions;
  readonly #identity: string;
  #lease: Lease;

  constructor(options: LeaseOptions, lease: Lease, identity: string) {
    this.#options = options;
    this.#lease = lease;
    this.#identity = identity;
  }

  renew(signal: AbortSignal): Promise<boolean> {
    return this.#write(() => ({ renewTime: microTime() }), signal);
  }

  /** Leaves the record that client-go leaves. */
  async release(): Promise<void> {
    const released = (): LeaseSpec => {
      const now = microTime();
      return { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
    };
    const { clock, times } = this.#options;
    await withDeadline(clock, times.renewMs, (signal) => this.#write(released, signal));
  }

  /** @returns false where another one holds it, or nobody. */
  async #write(change: () => LeaseSpec, signal: AbortSignal): Promise<boolean> {
    const { api } = this.#options;
    const path = pathOf(this.#options);
    for (let tries = 1; ; tries++) {
      try {
        const changed = { ...this.#lease, spec: { ...this.#lease.spec, ...change() } };
        this.#lease = await api.replace<Lease>(path, changed, signal);
        return true;
      } catch (error) {
        if (!(error instanceof TargetError) || !(isUndecided(error) || error.status === 404) || tries === TRIES)
          throw error;
        const current = await api.get<Lease>(path, signal);
        if (!isHeldBy(current, this.#identity)) return false;
        this.#lease = current;
      }
    }
  }
}

/** What became of a write shows only in the object. */
function isUndecided(error: TargetError): boolean {
  return error.ambiguous || error.status === 409;
}

function isHeldBy(lease: Lease | undefined, identity: string): lease is Lease {
  return lease?.spec?.holderIdentity === identity;
}

function collectionOf({ namespace }: LeaseOptions): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
}

function pathOf(options: LeaseOptions): string {
  return `${collectionOf(options)}/${options.name}`;
}

let written = 0;

/**
 * No two in a row are alike, whatever the wall clock does: a renewal that changes nothing is none to those who watch, and
 * the API server does not even store it.
 */
function microTime(): string {
  const micros = String(++written % 1000).padStart(3, '0');
  return new Date().toISOString().replace('Z', `${micros}Z`);
}

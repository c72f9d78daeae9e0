import { randomUUID } from 'node:crypto';
import type { Clock } from '../../contract/clock.ts';
import { messageOf } from '../../contract/errors.ts';
import type { KubernetesApi } from '../../contract/kubernetes.ts';
import { API_VERSION } from '../../contract/resource.ts';
import type { Notice } from './notices.ts';
import type { CustomResource } from './resources.ts';

export interface EventsOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** Who reports: the pod. */
  readonly instance: string;
  readonly onWarning: (message: string) => void;
}

/** Events are told to people: a burst of them must not take the API server's time from what it is for. */
const RATE = { perSecond: 20, burst: 50 };
const MOST_WAITING = 2_000;
/** Bytes of a note that the API server takes. */
const NOTE = 1024;
const CONTROLLER = 'nomad-access.io/operator';

/**
 * Writes Events (events.k8s.io/v1), in their order and no faster than the rate. They are hints: what can't be written, or is
 * too much, is left out, and the number of those is told.
 */
export class Events {
  readonly #options: EventsOptions;
  readonly #waiting: { readonly path: string; readonly body: object }[] = [];
  #credit = RATE.burst;
  #credited: number;
  readonly #ended = new AbortController();
  #isSending = false;
  #lost = 0;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#credited = options.clock.monotonic();
  }

  record(kind: string, { metadata }: CustomResource, { type, reason, action, note }: Notice): void {
    if (this.#ended.signal.aborted) return;
    const { name, namespace, uid } = metadata;
    const inNamespace = namespace ?? 'default';
    const now = new Date(this.#options.clock.now()).toISOString().replace('Z', '000Z');
    const body = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${randomUUID().slice(0, 18)}`, namespace: inNamespace },
      eventTime: now,
      reportingController: CONTROLLER,
      reportingInstance: this.#options.instance.slice(0, 128),
      regarding: {
        apiVersion: API_VERSION,
        kind,
        name,
        ...(namespace !== undefined && { namespace }),
        ...(uid !== undefined && { uid }),
      },
      type,
      reason,
      action,
      note: cut(note),
    };
    this.#waiting.push({ path: `/apis/events.k8s.io/v1/namespaces/${inNamespace}/events`, body });
    if (this.#waiting.length > MOST_WAITING) {
      this.#waiting.shift();
      this.#lost++;
    }
    void this.#send();
  }

  /** Nothing more is written. */
  close(): void {
    this.#ended.abort();
    this.#waiting.length = 0;
  }

  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await this.#turn();
      if (this.#ended.signal.aborted) return;
      await this.#options.api.create(next.path, next.body).catch((error: unknown) => {
        this.#options.onWarning(`an Event could not be written: ${messageOf(error)}`);
      });
    }
    this.#isSending = false;
    if (this.#lost > 0)
      this.#options.onWarning(`${String(this.#lost)} Events were left out: there were too many at once`);
    this.#lost = 0;
  }

  async #turn(): Promise<void> {
    const { clock } = this.#options;
    const now = clock.monotonic();
    this.#credit = Math.min(RATE.burst, this.#credit + ((now - this.#credited) / 1000) * RATE.perSecond);
    this.#credited = now;
    if (this.#credit < 1) {
      await clock.sleep(((1 - this.#credit) / RATE.perSecond) * 1000, this.#ended.signal).catch(() => undefined);
      this.#credit = 1;
      this.#credited = clock.monotonic();
    }
    this.#credit--;
  }
}

function cut(note: string): string {
  const bytes = Buffer.from(note);
  return bytes.length <= NOTE
    ? note
    : `${bytes
        .subarray(0, NOTE - 4)
        .toString('utf8')
        .replace(/\uFFFD+$/, '')}…`;
}

import { TargetError } from '../../contract/errors.ts';
import type {
  Variable,
  VariableLockRequest,
  VariablePlace,
  VariablesApi,
  WriteOutcome,
} from '../../contract/variables.ts';
import { foreignAnswer } from '../foreign.ts';
import type { HttpResponse } from '../../http/http.ts';
import type { NomadClient } from './client.ts';

/** As Nomad sends it. */
interface Body {
  readonly Path: string;
  readonly Items?: Readonly<Record<string, string>>;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
  readonly Lock?: { readonly ID: string };
}

/** What a release answers (500) where nothing is held. */
const NOT_HELD = /variable doesn't (exist|hold a lock)/;

/** Nomad Variables and their locks, one region. */
export class NomadVariables implements VariablesApi {
  readonly #client: Pick<NomadClient, 'get' | 'list' | 'request'>;

  constructor(client: Pick<NomadClient, 'get' | 'list' | 'request'>) {
    this.#client = client;
  }

  async list(namespace: string, prefix: string, signal?: AbortSignal): Promise<readonly string[]> {
    const { items } = await this.#client.list<Body>('/v1/vars', { namespace, prefix }, signal);
    return items.map((stub) => stub.Path);
  }

  async read(
    place: VariablePlace,
    after?: { readonly modifyIndex: number; readonly waitMs: number },
    signal?: AbortSignal,
  ): Promise<Variable | undefined> {
    const query = {
      namespace: place.namespace,
      ...(after && { index: after.modifyIndex, wait: `${String(Math.ceil(after.waitMs))}ms` }),
    };
    const reply = await this.#client.get<Body>(pathOf(place), query, signal);
    return reply && variableOf(reply.body);
  }

  async write(place: VariablePlace, items: Readonly<Record<string, string>>, cas: number): Promise<WriteOutcome> {
    const query = { namespace: place.namespace, cas };
    const options = { expect: [200, 409] };
    return outcomeOf(place, await this.#client.request('PUT', pathOf(place), query, { Items: items }, options));
  }

  async remove(place: VariablePlace, cas: number): Promise<WriteOutcome> {
    const query = { namespace: place.namespace, cas };
    const options = { expect: [204, 409] };
    return outcomeOf(place, await this.#client.request('DELETE', pathOf(place), query, undefined, options));
  }

  async acquireLock(
    place: VariablePlace,
    lock: VariableLockRequest,
    items: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const body = { Items: items, Lock: { ID: lock.id, TTL: lock.ttl, LockDelay: lock.delay } };
    return (await this.#lock('lock-acquire', place, body, true, [200, 409], signal)).status === 200;
  }

  async renewLock(place: VariablePlace, lockId: string, signal?: AbortSignal): Promise<boolean> {
    const body = { Lock: { ID: lockId } };
    return (await this.#lock('lock-renew', place, body, true, [200, 404, 409], signal)).status === 200;
  }

  /** A second release answers 500, which is not to be taken for a server in trouble: hence it is sent once. */
  async releaseLock(place: VariablePlace, lockId: string): Promise<void> {
    const body = { Lock: { ID: lockId } };
    const response = await this.#lock('lock-release', place, body, false, [200, 409, 500]);
    if (response.status !== 500 || NOT_HELD.test(response.text)) return;
    throw new TargetError(`cannot release the lock of the Nomad variable ${place.path}: ${response.text}`, {
      class: 'transient',
      status: 500,
      ambiguous: true,
    });
  }

  #lock(
    operation: string,
    place: VariablePlace,
    body: unknown,
    idempotent: boolean,
    expect: readonly number[],
    signal?: AbortSignal,
  ): Promise<HttpResponse> {
    const query = { namespace: place.namespace, [operation]: '' };
    return this.#client.request('PUT', pathOf(place), query, body, { expect, idempotent, signal });
  }
}

function pathOf(place: VariablePlace): string {
  return `/v1/var/${place.path}`;
}

/** @returns undefined for what is no variable. */
function bodyOf({ text }: HttpResponse): Body | undefined {
  try {
    const body = JSON.parse(text) as Partial<Body> | null;
    return typeof body?.ModifyIndex === 'number' ? (body as Body) : undefined;
  } catch {
    return undefined;
  }
}

function variableOf(body: Body): Variable {
  return {
    items: body.Items ?? {},
    createIndex: body.CreateIndex,
    modifyIndex: body.ModifyIndex,
    lockId: body.Lock?.ID,
  };
}

/**
 * The current variable is the body of a conflict; index 0 stands for none, or none that may be shown.
 * @throws TargetError `ambiguous` where it is neither: something else answered.
 */
function outcomeOf(place: VariablePlace, response: HttpResponse): WriteOutcome {
  if (response.status === 204) return { written: true, createIndex: 0, modifyIndex: 0 };
  const body = bodyOf(response);
  if (body === undefined) throw foreignAnswer('Nomad', `write of variable ${place.path}`, response.status, true);
  if (response.status === 200) return { written: true, createIndex: body.CreateIndex, modifyIndex: body.ModifyIndex };
  return { written: false, current: body.ModifyIndex === 0 ? undefined : variableOf(body) };
}

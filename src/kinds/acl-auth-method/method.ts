import { TargetError } from '../../contract/errors.ts';
import type { ObjectType, ReadRequest, SettledDesired } from '../../contract/kind.ts';
import type { Io, NomadApi, NomadList } from '../../contract/target.ts';
import type { Live } from '../../plan/step.ts';
import { stringIn } from '../../plan/value.ts';
import { explained, type Refusals } from '../refusal.ts';
import { arrived, removed } from '../replication.ts';
import { rememberSent, secretsToSend, sentFacts } from '../secret-source.ts';
import { liveFields, methodBody, methodFieldRules, type MethodBody } from './fields.ts';

/** An auth method as Nomad lists it: without its configuration. */
interface MethodStub {
  readonly Name: string;
  readonly Default: boolean;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

interface Method extends MethodBody, MethodStub {
  readonly Name: string;
  readonly Default: boolean;
  /** Another one after every write that changes something, and the same in all regions. */
  readonly ModifyTime: string;
}

const LIST = '/v1/acl/auth-methods';
/** Which one was is perhaps not known here yet, and it may be so no more. */
const REFUSALS: Refusals = [[/default method already exists/, 'dependency']];
/** What the default method is filed under. */
export const DEFAULT = 'default';

/**
 * A Nomad ACL auth method. Its `Hash` is of no use: with two mappings or more it is another one after every write, whatever
 * was written (Nomad 1.11.3).
 */
export const authMethodObject: ObjectType = {
  name: 'acl-auth-method',
  connection: 'NomadCluster',
  after: [],
  rules: methodFieldRules,

  /** One list; a method is fetched only where its index is not that of what was read before. */
  async read(io, request, signal) {
    const api = io.nomad(request.connection);
    const { items, index } = await listMethods(api, signal);
    const keys = [...[...request.desired, ...request.owned].map(({ key }) => key), ...(request.observed ?? [])];
    const wanted = new Set(keys.map((key) => key.name));
    const lives = items
      .filter((stub) => wanted.has(stub.Name) || stub.Default)
      .map(async (stub): Promise<[string, Live] | undefined> => {
        const live = known(stub, request) ?? (await fetchMethod(api, stub.Name, signal));
        return live && [stub.Name, live];
      });
    return { objects: new Map((await Promise.all(lives)).filter((entry) => entry !== undefined)), index };
  },

  watch: {
    topic: 'ACLAuthMethod',
    list: LIST,
    live: (payload) => liveMethod((payload as { AuthMethod: Method }).AuthMethod),
  },

  /** There is one at most. */
  index: (live) => (live.fields['default'] === true ? DEFAULT : undefined),
  create: write,
  update: write,

  async remove(io, { key }) {
    return removed(io.nomad(key.connection), path(key.name));
  },

  remember: rememberSent,
};

/** Every method, without its configuration. @throws TargetError */
export function listMethods(api: NomadApi, signal: AbortSignal): Promise<NomadList<MethodStub>> {
  return api.list<MethodStub>(LIST, {}, signal);
}

function known(stub: MethodStub, { cached }: ReadRequest): Live | undefined {
  const live = cached(stub.Name);
  return live?.index === stub.ModifyIndex && live.id === String(stub.CreateIndex) ? live : undefined;
}

/** Undefined where it is gone by now. @throws TargetError */
export async function fetchMethod(api: NomadApi, name: string, signal: AbortSignal): Promise<Live | undefined> {
  const reply = await api.get<Method>(path(name), {}, signal);
  return reply && liveMethod(reply.body);
}

/** Names can be given again: which method of that name it is tells the index at which it was created. */
function liveMethod(method: Method): Live {
  return {
    id: String(method.CreateIndex),
    index: method.ModifyIndex,
    fields: liveFields(method),
    facts: { name: method.Name, version: method.ModifyTime },
  };
}

/** The write replaces the whole method. A create is the same request, and may be sent twice. */
async function write(io: Io, desired: SettledDesired): Promise<Live> {
  const { key, fields } = desired;
  const api = io.nomad(key.connection);
  const { texts, sent } = await secretsToSend(io, fields);
  const body = methodBody(key.name, fields, texts);
  const send = async (): Promise<Method> => (await explained(api.put<Method>(path(key.name), body), REFUSALS)).body;
  const method = await send().catch(async (error: unknown) => {
    await giveUpDefault(api, desired, error);
    return send();
  });
  const live = liveMethod(method);
  const written = { ...live, facts: { ...live.facts, ...sentFacts(sent, method.ModifyTime) } };
  return arrived(api, path(key.name), written, methodFieldRules, liveMethod);
}

/**
 * Nomad takes no second default method. Where the first one is ours, and so is to be it no more, it is told so: what is not
 * sent stays as it is there, secrets as well.
 * @throws the error of the write, where it says something else.
 */
async function giveUpDefault(api: NomadApi, { detail }: SettledDesired, error: unknown): Promise<void> {
  const former = stringIn(detail, 'formerDefault');
  if (!(error instanceof TargetError) || !/default method already exists/.test(error.message) || former === '')
    throw error;
  await api.put(path(former), { Name: former, Default: false });
}

function path(name: string): string {
  return `/v1/acl/auth-method/${encodeURIComponent(name)}`;
}

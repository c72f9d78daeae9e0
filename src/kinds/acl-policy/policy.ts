import { blake2b } from '@noble/hashes/blake2.js';
import type { ObjectType, ReadRequest } from '../../contract/kind.ts';
import type { Io, NomadApi, NomadList } from '../../contract/target.ts';
import type { FieldRule } from '../../plan/diff.ts';
import type { Live } from '../../plan/step.ts';
import { settled, stringIn, type Fields } from '../../plan/value.ts';
import { requireManagement } from '../operator-token.ts';
import { arrived, removed } from '../replication.ts';

/** How the fields of a policy are compared. */
export const policyFieldRules: Readonly<Record<string, FieldRule>> = {
  description: { compare: 'exact' },
  rules: { compare: 'text' },
  'jobAcl.namespace': { compare: 'exact' },
  'jobAcl.jobId': { compare: 'exact' },
  'jobAcl.group': { compare: 'exact' },
  'jobAcl.task': { compare: 'exact' },
};

interface JobAcl {
  readonly Namespace: string;
  readonly JobID: string;
  readonly Group: string;
  readonly Task: string;
}

/** A policy as Nomad lists it: without rules and association, but with a hash over all of it. */
interface PolicyStub {
  readonly Name: string;
  readonly Description: string;
  readonly Hash: string;
  readonly CreateIndex: number;
  readonly ModifyIndex: number;
}

interface Policy extends PolicyStub {
  readonly Rules: string;
  readonly JobACL: JobAcl | null;
}

const LIST = '/v1/acl/policies';

/** A Nomad ACL policy. */
export const aclPolicyObject: ObjectType = {
  name: 'acl-policy',
  connection: 'NomadCluster',
  after: [],
  rules: policyFieldRules,

  /** One list, and one look at who we are; a policy's rules are fetched only where its hash is neither the declared one's nor the one read before. */
  async read(io, request, signal) {
    const api = io.nomad(request.connection);
    const [{ items, index }] = await Promise.all([listPolicies(api, signal), requireManagement(api, signal)]);
    const wanted = wantedFields(request);
    const lives = items
      .filter((stub) => wanted.has(stub.Name))
      .map(async (stub): Promise<[string, Live] | undefined> => {
        const live = known(stub, wanted.get(stub.Name), request) ?? (await fetchPolicy(api, stub.Name, signal));
        return live && [stub.Name, live];
      });
    return { objects: new Map((await Promise.all(lives)).filter((entry) => entry !== undefined)), index };
  },

  watch: {
    topic: 'ACLPolicy',
    list: LIST,
    live: (payload) => livePolicy((payload as { ACLPolicy: Policy }).ACLPolicy),
  },

  async create(io, desired) {
    return write(io, desired.key, desired.fields);
  },

  /** The write replaces the whole policy. */
  async update(io, desired, live) {
    return write(io, desired.key, desired.fields, live.id);
  },

  async remove(io, { key }) {
    return removed(io.nomad(key.connection), path(key.name));
  },
};

/** Every policy that the asking token may see, without its rules. @throws TargetError */
export function listPolicies(api: NomadApi, signal: AbortSignal): Promise<NomadList<PolicyStub>> {
  return api.list<PolicyStub>(LIST, {}, signal);
}

function wantedFields(request: ReadRequest): Map<string, Fields | undefined> {
  const wanted = new Map<string, Fields | undefined>(request.owned.map((owned) => [owned.key.name, undefined]));
  for (const { name } of request.observed ?? []) wanted.set(name, undefined);
  for (const desired of request.desired) wanted.set(desired.key.name, settled(desired.fields));
  return wanted;
}

/** The live policy, if its hash tells all of it: it equals the declared one, or the one that was read before. */
function known(stub: PolicyStub, declared: Fields | undefined, request: ReadRequest): Live | undefined {
  const cached = request.cached(stub.Name);
  if (cached !== undefined && hashIn(stub.Name, cached) === stub.Hash) return { ...cached, ...versionOf(stub) };
  if (declared === undefined || policyHash(stub.Name, declared) !== stub.Hash) return undefined;
  return { fields: declared, ...versionOf(stub) };
}

/** What we wrote ourselves came back without a hash. */
function hashIn(name: string, { facts, fields }: Live): string {
  return stringIn(facts, 'hash') || policyHash(name, fields);
}

/** @returns undefined where there is none. @throws TargetError */
export async function fetchPolicy(api: NomadApi, name: string, signal: AbortSignal): Promise<Live | undefined> {
  const reply = await api.get<Policy>(path(name), {}, signal);
  return reply && livePolicy(reply.body);
}

function livePolicy(policy: Policy): Live {
  return {
    fields: {
      description: policy.Description,
      rules: policy.Rules,
      'jobAcl.namespace': policy.JobACL?.Namespace ?? '',
      'jobAcl.jobId': policy.JobACL?.JobID ?? '',
      'jobAcl.group': policy.JobACL?.Group ?? '',
      'jobAcl.task': policy.JobACL?.Task ?? '',
    },
    ...versionOf(policy),
  };
}

/** Names can be given again: which policy of that name it is tells the index at which it was created. */
function versionOf(stub: PolicyStub): Pick<Live, 'id' | 'index' | 'facts'> {
  return { id: String(stub.CreateIndex), index: stub.ModifyIndex, facts: { hash: stub.Hash } };
}

async function write(io: Io, key: { connection: string; name: string }, fields: Fields, id?: string): Promise<Live> {
  const jobAcl = jobAclOf(fields);
  const api = io.nomad(key.connection);
  const { index } = await api.put(path(key.name), {
    Name: key.name,
    Description: fields['description'],
    Rules: fields['rules'],
    ...(jobAcl && { JobACL: jobAcl }),
  });
  // A create whose reply was lost was sent twice: its index need not be the one at which the policy was created.
  const written = { ...(id !== undefined && { id }), fields, index };
  return arrived(api, path(key.name), written, policyFieldRules, livePolicy);
}

function jobAclOf(fields: Fields): JobAcl | undefined {
  if (fields['jobAcl.namespace'] === '') return undefined;
  const text = (field: string): string => stringIn(fields, `jobAcl.${field}`);
  return { Namespace: text('namespace'), JobID: text('jobId'), Group: text('group'), Task: text('task') };
}

function path(name: string): string {
  return `/v1/acl/policy/${encodeURIComponent(name)}`;
}

/**
 * Nomad's hash of a policy: BLAKE2b-256 over name, description, rules and, where there is an association, its
 * namespace, job, group and task, base64 (ACLPolicy.SetHash in nomad/structs/acl.go).
 */
export function policyHash(name: string, fields: Fields): string {
  const hash = blake2b.create({ dkLen: 32 });
  const encoder = new TextEncoder();
  const add = (text: unknown): void => void hash.update(encoder.encode(String(text)));
  add(name);
  add(fields['description']);
  add(fields['rules']);
  const jobAcl = jobAclOf(fields);
  if (jobAcl) [jobAcl.Namespace, jobAcl.JobID, jobAcl.Group, jobAcl.Task].forEach(add);
  return Buffer.from(hash.digest()).toString('base64');
}

// AclPolicies on a Kubernetes API server by a bare keep-alive client, BENCH_COUNT of them, BENCH_AT_ONCE at once. `create` only
// creates them; `wipe` takes them away; `whole` also does for each what the operator must: the finalizer, the policy on Nomad, the status. Prints when
// the first create was sent and when the last reply came; milliseconds since the epoch.
import { readFileSync } from 'node:fs';
import { Pool } from 'undici';

const [what = 'create'] = process.argv.slice(2);
const { KUBE_ADDR, KUBE_TOKEN, KUBE_CA, NOMAD_ADDR, NOMAD_TOKEN } = process.env;
const count = Number(process.env.BENCH_COUNT);
const atOnce = Number(process.env.BENCH_AT_ONCE);
const options = { connections: atOnce, pipelining: 1 };
const kubernetes = new Pool(KUBE_ADDR, { ...options, connect: { ca: readFileSync(KUBE_CA, 'utf8') } });
const nomad = new Pool(NOMAD_ADDR, options);
const COLLECTION = '/apis/nomad-access.io/v1alpha1/namespaces/default/aclpolicies';
const API = { apiVersion: 'nomad-access.io/v1alpha1', kind: 'AclPolicy' };
const RULES = 'namespace "default" {\n  policy = "read"\n}\n';

async function send(pool, method, path, body, headers) {
  const reply = await pool.request({ method, path, headers, body: JSON.stringify(body) });
  const text = await reply.body.text();
  if (reply.statusCode >= 300) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

const kube = (method, path, body, type = 'application/json') =>
  send(kubernetes, method, path, body, { authorization: `Bearer ${KUBE_TOKEN}`, 'content-type': type });

async function one(name) {
  const metadata = { name, namespace: 'default' };
  const spec = { description: `number ${name.slice(6)}`, rules: RULES };
  const { metadata: made } = await kube('POST', COLLECTION, { ...API, metadata, spec });
  if (what === 'create') return;
  const finalizers = { metadata: { finalizers: ['nomad-access.io/finalizer'], resourceVersion: made.resourceVersion } };
  await kube('PATCH', `${COLLECTION}/${name}`, finalizers, 'application/merge-patch+json');
  const policy = { Name: name, Description: spec.description, Rules: RULES };
  await send(nomad, 'PUT', `/v1/acl/policy/${name}`, policy, { 'x-nomad-token': NOMAD_TOKEN });
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: 'InSync',
    message: 'everything is as declared',
    observedGeneration: 1,
    lastTransitionTime: new Date().toISOString().replace(/\.\d{3}Z/, 'Z'),
  };
  const status = { observedGeneration: 1, conditions: [ready], live: { name } };
  const path = `${COLLECTION}/${name}/status?fieldManager=nomad-access&force=true`;
  await kube('PATCH', path, { ...API, metadata, status }, 'application/apply-patch+yaml');
}

/** Takes them away without an operator. */
async function wipe(name) {
  await kube('PATCH', `${COLLECTION}/${name}`, { metadata: { finalizers: null } }, 'application/merge-patch+json');
  await kube('DELETE', `${COLLECTION}/${name}`, {});
}

let next = 0;
const first = performance.timeOrigin + performance.now();
const worker = async () => {
  while (next < count) await (what === 'wipe' ? wipe : one)(`bench-${next++}`);
};
await Promise.all(Array.from({ length: atOnce }, worker));
console.log(JSON.stringify({ first, last: performance.timeOrigin + performance.now() }));
await Promise.all([kubernetes.close(), nomad.close()]);

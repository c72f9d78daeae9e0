// The floor of putting drift back: a client that listens to the event stream and writes back at once, and does nothing else.
import { Client, Pool } from 'undici';

const count = Number(process.env.BENCH_COUNT);
const headers = { 'x-nomad-token': process.env.NOMAD_TOKEN, 'accept-encoding': 'identity' };
const pool = new Pool(process.env.NOMAD_ADDR, { connections: 32, pipelining: 1 });
const rules = 'namespace "default" {\n  policy = "read"\n}\n';

async function send(method, path, body) {
  const reply = await pool.request({ method, path, headers, body: body && JSON.stringify(body) });
  const text = await reply.body.text();
  if (reply.statusCode !== 200) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

const policyOf = (name) => ({ Name: name, Description: `number ${name.slice(6)}`, Rules: rules });
const tokenOf = (name) => ({ Name: name, Type: 'client', Policies: [name], Global: false });

const names = Array.from({ length: count }, (_, i) => `bench-${i}`);
const accessors = new Map();
for (const name of names) {
  await send('PUT', `/v1/acl/policy/${name}`, policyOf(name));
  accessors.set((await send('POST', '/v1/acl/token', tokenOf(name))).AccessorID, name);
}

const stream = await new Client(process.env.NOMAD_ADDR, { bodyTimeout: 0 }).request({
  method: 'GET',
  path: '/v1/event/stream?topic=ACLPolicy&topic=ACLToken',
  headers,
});
let isReady = false;
let announced;
let rest = '';
for await (const chunk of stream.body) {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  for (const line of lines) for (const event of JSON.parse(line || '{}').Events ?? []) if (isReady) void correct(event);
  // What the buffer of the server still holds comes with the first lines.
  announced ??= setTimeout(() => console.error('ready', (isReady = true)), 500);
}

async function correct({ Topic, Type, Key, Payload }) {
  const isGone = Type.endsWith('Deleted');
  if (Topic === 'ACLPolicy') {
    if (isGone || Payload.ACLPolicy.Rules !== rules) await send('PUT', `/v1/acl/policy/${Key}`, policyOf(Key));
    return;
  }
  const name = accessors.get(Key);
  if (name === undefined) return;
  if (isGone) {
    accessors.delete(Key);
    accessors.set((await send('POST', '/v1/acl/token', tokenOf(name))).AccessorID, name);
  } else if (Payload.ACLToken.Policies?.[0] !== name) {
    const whole = await send('GET', `/v1/acl/token/${Key}`);
    await send('PUT', `/v1/acl/token/${Key}`, { ...whole, ...tokenOf(name) });
  }
}

// The ceiling: a bare keep-alive client that sends just the writes, 32 at once. BENCH_COUNT policies, then as many tokens.
import { Pool } from 'undici';

const count = Number(process.env.BENCH_COUNT);
const pool = new Pool(process.env.NOMAD_ADDR, { connections: 32, pipelining: 1 });
const headers = { 'x-nomad-token': process.env.NOMAD_TOKEN };

async function send(method, path, body) {
  const reply = await pool.request({ method, path, headers, body: JSON.stringify(body) });
  const text = await reply.body.text();
  if (reply.statusCode !== 200) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
}

async function all(work) {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

const rules = 'namespace "default" {\n  policy = "read"\n}\n';
await all((i) =>
  send('PUT', `/v1/acl/policy/bench-${i}`, { Name: `bench-${i}`, Description: `number ${i}`, Rules: rules }),
);
await all((i) =>
  send('POST', '/v1/acl/token', { Name: `bench-${i}`, Type: 'client', Policies: [`bench-${i}`], Global: false }),
);
await pool.close();

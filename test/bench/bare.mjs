// The ceiling: a bare keep-alive client that sends just the necessary requests, 64 at once. BENCH_COUNT policies and as many
// tokens are created, updated, read or deleted, as the argument says. A token's update needs a read: Nomad clears what is omitted.
import { Pool } from 'undici';

const [what = 'create'] = process.argv.slice(2);
const AT_ONCE = 64;
const count = Number(process.env.BENCH_COUNT);
const pool = new Pool(process.env.NOMAD_ADDR, { connections: AT_ONCE, pipelining: 1 });
const headers = { 'x-nomad-token': process.env.NOMAD_TOKEN };

async function send(method, path, body) {
  const reply = await pool.request({ method, path, headers, body: body && JSON.stringify(body) });
  const text = await reply.body.text();
  if (reply.statusCode !== 200) throw new Error(`${method} ${path}: ${reply.statusCode} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

async function all(items, work) {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const policy = (name, capability) => ({
  Name: name,
  Description: `number ${name.slice(6)}`,
  Rules: `namespace "default" {\n  policy = "${capability}"\n}\n`,
});
const token = (name, more = []) => ({ Name: name, Type: 'client', Policies: [name, ...more], Global: false });
const names = Array.from({ length: count }, (_, i) => `bench-${i}`);

if (what === 'create') {
  await all(names, (name) => send('PUT', `/v1/acl/policy/${name}`, policy(name, 'read')));
  await all(names, (name) => send('POST', '/v1/acl/token', token(name)));
} else if (what === 'read') {
  const [policies] = await Promise.all([send('GET', '/v1/acl/policies'), send('GET', '/v1/acl/tokens')]);
  await all(policies, ({ Name }) => send('GET', `/v1/acl/policy/${Name}`));
} else {
  const tokens = (await send('GET', '/v1/acl/tokens')).filter((t) => t.Name.startsWith('bench-'));
  if (what === 'update') {
    await all(names, (name) => send('PUT', `/v1/acl/policy/${name}`, policy(name, 'write')));
    await all(tokens, async ({ AccessorID, Name }) => {
      const whole = await send('GET', `/v1/acl/token/${AccessorID}`);
      await send('PUT', `/v1/acl/token/${AccessorID}`, { ...whole, ...token(Name, ['more']) });
    });
  } else {
    await all(tokens, ({ AccessorID }) => send('DELETE', `/v1/acl/token/${AccessorID}`));
    await all(names, (name) => send('DELETE', `/v1/acl/policy/${name}`));
  }
}
await pool.close();

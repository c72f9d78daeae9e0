// Loaded before the operator (`node --import`): notes when a status was last written, and counts what is written where. Written to
// TRACE_FILE at SIGUSR2, with what is on the heap once all garbage is collected (`node --expose-gc`); then it begins anew.
import { subscribe } from 'node:diagnostics_channel';
import { renameSync, writeFileSync } from 'node:fs';

const begin = () => ({ lastStatus: 0, writes: {} });
let trace = begin();

/** What is written, without names. Events are hints, and the Lease says who leads: neither is about a resource. */
const subjectOf = (path) =>
  path.includes('/status')
    ? 'status'
    : (/\/(leases|events|configmaps|aclpolicies|secrets)/.exec(path)?.[1] ?? path.replace(/bench-\d+.*/, 'NAME'));

subscribe('undici:request:create', ({ request }) => {
  if (request.method === 'GET') return;
  const subject = `${request.method} ${subjectOf(request.path)}`;
  trace.writes[subject] = (trace.writes[subject] ?? 0) + 1;
});
subscribe('undici:request:headers', ({ request }) => {
  if (request.method !== 'GET' && request.path.includes('/status'))
    trace.lastStatus = performance.timeOrigin + performance.now();
});
process.on('SIGUSR2', () => {
  globalThis.gc?.();
  const file = process.env.TRACE_FILE;
  const { heapUsed, rss } = process.memoryUsage();
  writeFileSync(`${file}.new`, JSON.stringify({ ...trace, heapUsed, rss }));
  renameSync(`${file}.new`, file);
  trace = begin();
});

// Loaded before a client (`node --import`): notes when its first write was sent and when its last one was answered.
import { subscribe } from 'node:diagnostics_channel';
import { writeFileSync } from 'node:fs';

const started = performance.timeOrigin;
const trace = { requests: 0, writes: 0, reads: {}, firstWrite: 0, lastWrite: 0 };
const now = () => performance.timeOrigin + performance.now() - started;

subscribe('undici:request:create', ({ request }) => {
  trace.requests++;
  if (request.method === 'GET') {
    const path = request.path.split('?')[0];
    trace.reads[path] = (trace.reads[path] ?? 0) + 1;
    return;
  }
  trace.writes++;
  trace.firstWrite ||= now();
});
subscribe('undici:request:headers', ({ request }) => {
  if (request.method !== 'GET') trace.lastWrite = now();
});
process.on('exit', () => {
  if (process.env.TRACE_FILE) writeFileSync(process.env.TRACE_FILE, JSON.stringify({ ...trace, total: now() }));
});

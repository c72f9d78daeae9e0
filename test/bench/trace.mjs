// Loaded before a client (`node --import`): notes when its first write was sent and when its last one was answered. Written
// to TRACE_FILE at the end, and at SIGUSR2, when it begins anew.
import { subscribe } from 'node:diagnostics_channel';
import { renameSync, writeFileSync } from 'node:fs';

const now = () => performance.now();
const begin = () => ({ requests: 0, writes: 0, reads: {}, firstWrite: 0, lastWrite: 0 });
let trace = begin();
/** Whoever waits for the file never finds half of it. */
const save = () => {
  const file = process.env.TRACE_FILE;
  if (!file) return;
  writeFileSync(`${file}.new`, JSON.stringify({ ...trace, total: now() }));
  renameSync(`${file}.new`, file);
};

subscribe('undici:request:create', ({ request }) => {
  trace.requests++;
  if (request.method === 'GET') {
    const path = request.path.split('?')[0].replace(/[0-9a-f-]{36}$/, 'ID');
    trace.reads[path] = (trace.reads[path] ?? 0) + 1;
    return;
  }
  trace.writes++;
  trace.firstWrite ||= now();
});
subscribe('undici:request:headers', ({ request }) => {
  if (request.method !== 'GET') trace.lastWrite = now();
});
process.on('SIGUSR2', () => {
  save();
  trace = begin();
});
process.on('exit', save);

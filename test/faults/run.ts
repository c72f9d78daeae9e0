// Runs schedules of faults: `npx tsx test/faults/run.ts FROM COUNT`. A seed that fails is shrunk, and told with its log.
import { runSchedule, scheduleOf, shrink } from './schedule.ts';

// Vault fetches the keys of Nomad while it takes a configuration; there is no network here.
globalThis.fetch = () => Promise.resolve(new Response('{"keys":[{"kty":"RSA"}]}'));

// Errors by the thousand are part of it, and nobody reads where they come from, but for those of a seed that fails.
const { stackTraceLimit } = Error;
Error.stackTraceLimit = 0;

const [from = 0, count = 1] = process.argv.slice(2).map(Number);

for (let seed = from; seed < from + count; seed++) {
  const actions = scheduleOf(seed);
  try {
    await runSchedule(seed, actions);
  } catch (error) {
    const shortest = await shrink(seed, actions);
    console.log(`seed ${String(seed)} fails with`, shortest);
    Error.stackTraceLimit = stackTraceLimit;
    const told = await runSchedule(seed, shortest).then(
      () => error,
      (shorter: unknown) => shorter,
    );
    console.log(told instanceof Error ? told.message : told);
    process.exit(1);
  }
}
console.log(`${String(count)} schedules`);
// Streams of processes that were killed are still open.
process.exit(0);

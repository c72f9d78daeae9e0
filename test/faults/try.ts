import { runSchedule, scheduleOf, shrink } from './schedule.ts';

globalThis.fetch = () => Promise.resolve(new Response('{"keys":[{"kty":"RSA"}]}'));
const from = Number(process.argv[2] ?? 0);
const count = Number(process.argv[3] ?? 1);
const started = performance.now();
let failed = 0;
for (let seed = from; seed < from + count; seed++) {
  try {
    await runSchedule(seed, scheduleOf(seed));
  } catch (error) {
    failed++;
    if (failed > Number(process.argv[4] ?? 1)) continue;
    const shortest = await shrink(seed, scheduleOf(seed));
    console.log(shortest);
    try {
      await runSchedule(seed, shortest);
    } catch (again) {
      console.log(again instanceof Error ? again.message : again);
      if (again instanceof Error)
        console.log(
          again.stack
            ?.split('\n')
            .filter((l) => l.includes(' at '))
            .slice(0, 8)
            .join('\n'),
        );
    }
    console.log(error instanceof Error ? error.message.split('\n').slice(0, 8).join('\n') : error);
  }
}
console.log(
  `${String(count)} schedules, ${String(failed)} failed, ${((performance.now() - started) / count).toFixed(1)} ms each`,
);
process.exit(0);

import type { Reply } from '../http.ts';
import type { Store, StoreEvent } from './store.ts';

const HEARTBEAT = 30_000;
/** As Nomad sends them; the connection is never used again. */
const HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-cache', connection: 'close' };

type Write = (line: string) => unknown;

/**
 * The event stream: a heartbeat at once, then what the buffer holds from the index on (from its beginning where none is
 * given, its last event where the index is ahead of it), then what happens. A reader that falls behind the buffer hears
 * nothing any more, and the connection stays open.
 */
export function eventStream(store: Store, query: URLSearchParams): Reply {
  const topics = query.getAll('topic').map((topic) => topic.split(':'));
  const isMeant = (event: StoreEvent): boolean =>
    topics.length === 0 ||
    topics.some(
      ([name, key]) =>
        (name === '*' || name === event.Topic) &&
        (key === undefined || key === '*' || key === event.Key || event.FilterKeys?.includes(key) === true),
    );
  const from = Number(query.get('index') ?? 0);
  return {
    status: 200,
    headers: HEADERS,
    stream: (write, closed) => void follow(store, isMeant, from, write, closed),
  };
}

/** How Nomad answers a token that may not listen: as if the stream stood, but it never says anything. */
export function silentStream(): Reply {
  return { status: 200, headers: HEADERS, stream: () => undefined };
}

async function follow(
  store: Store,
  isMeant: (event: StoreEvent) => boolean,
  from: number,
  write: Write,
  closed: AbortSignal,
): Promise<void> {
  const newest = store.events.at(-1)?.Index ?? 0;
  let last = Math.max(store.forgotten, Math.min(from, newest) - 1);
  await write('{}\n');
  while (!closed.aborted && store.forgotten <= last) {
    const event = store.events.find((e) => e.Index > last);
    if (event === undefined) {
      if (!(await happens(store, closed))) await write('{}\n');
      continue;
    }
    last = event.Index;
    if (isMeant(event)) await write(`${JSON.stringify({ Events: [event], Index: event.Index })}\n`);
  }
}

/** @returns false where nothing happened until the next heartbeat is due. */
function happens(store: Store, closed: AbortSignal): Promise<boolean> {
  return new Promise((done) => {
    const finish = (happened: boolean) => (): void => {
      clearTimeout(timer);
      stop();
      closed.removeEventListener('abort', end);
      done(happened);
    };
    const end = finish(true);
    const timer = setTimeout(finish(false), HEARTBEAT);
    const stop = store.listen(end);
    closed.addEventListener('abort', end);
  });
}

/** One reader of Nomad's event stream, without our own client. */
export interface Told {
  readonly Topic: string;
  readonly Type: string;
  readonly Key: string;
  readonly Index: number;
  readonly Payload: Record<string, Record<string, unknown>>;
}

export class EventLines {
  readonly status: number;
  readonly headers: Headers;
  /** Everything that came, heartbeats included. */
  readonly lines: string[] = [];
  readonly #abort: AbortController;

  private constructor(reply: Response, abort: AbortController) {
    this.status = reply.status;
    this.headers = reply.headers;
    this.#abort = abort;
    this.#read(reply).catch(() => undefined);
  }

  /** @param query begins with `?`. */
  static async open(address: string, token: string | undefined, query: string): Promise<EventLines> {
    const abort = new AbortController();
    const reply = await fetch(`${address}/v1/event/stream${query}`, {
      headers: { 'accept-encoding': 'identity', ...(token !== undefined && { 'x-nomad-token': token }) },
      signal: abort.signal,
    });
    return new EventLines(reply, abort);
  }

  events(): Told[] {
    return this.lines.flatMap((line) => (JSON.parse(line) as { Events?: Told[] }).Events ?? []);
  }

  close(): void {
    this.#abort.abort();
  }

  async #read(reply: Response): Promise<void> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of reply.body ?? []) {
      const parts = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
    }
  }
}

import { Agent, request } from 'undici';

export interface HttpOptions {
  method?: 'GET' | 'PUT' | 'POST';
  headers?: Record<string, string>;
  body?: unknown;
  tls?: { ca: string; cert?: string; key?: string };
}

/** One request to a server under test; the body parsed where it is JSON. Every status is a result. */
export async function askServer(url: string, options: HttpOptions = {}): Promise<{ status: number; body: unknown }> {
  // An agent of its own: a test may have replaced the global one.
  const dispatcher = new Agent(options.tls === undefined ? {} : { connect: options.tls });
  try {
    const response = await request(url, {
      dispatcher,
      method: options.method ?? 'GET',
      headers: options.headers ?? {},
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: response.statusCode, body: parse(await response.body.text()) };
  } finally {
    await dispatcher.close();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

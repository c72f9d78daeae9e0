import type { Reply, Request } from '../http.ts';
import { NomadError } from './errors.ts';

/** @param name what the path's group has caught; empty where it has none. */
export type Handler = (request: Request, name: string) => Reply | Promise<Reply>;
/** Who may: anybody, whoever has a token, or management. */
export type Right = 'anybody' | 'token' | 'management';

export interface Route {
  readonly method: string;
  readonly path: RegExp;
  readonly right: Right;
  readonly handle: Handler;
}

export function route(method: string, path: RegExp, handle: Handler, right: Right = 'management'): Route {
  return { method, path, right, handle };
}

/** PUT and POST mean the same to Nomad. */
export function methods(method: string): readonly string[] {
  return method === 'PUT' ? ['PUT', 'POST'] : [method];
}

/** @throws NomadError where the body is no object. */
export function objectIn(request: Request): Record<string, never> {
  if (typeof request.body !== 'object' || request.body === null) throw new NomadError(400, 'EOF');
  return request.body as Record<string, never>;
}

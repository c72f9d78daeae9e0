import type { Fields } from './values.ts';

/** What is asked of a secrets engine: the path below its mount, without a slash at its end. */
export interface EngineRequest {
  readonly verb: 'read' | 'list' | 'write' | 'delete';
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Fields;
}

/** One mounted secrets engine. */
export interface SecretsEngine {
  /** @returns what stands under `data`, an Envelope, or nothing: 204. @throws VaultError */
  handle(request: EngineRequest): unknown;
  /** Everything it holds, for tests. */
  state(): unknown;
}

/** An answer that says more than `data`. */
export class Envelope {
  constructor(
    readonly fields: {
      readonly data: unknown;
      readonly lease_id?: string;
      readonly renewable?: boolean;
      /** Seconds. */
      readonly lease_duration?: number;
    },
    readonly status = 200,
  ) {}
}

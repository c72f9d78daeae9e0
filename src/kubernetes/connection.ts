import { Http, type HttpOptions, type HttpRequest, type HttpResponse, type LinesRequest } from '../http/http.ts';
import { isSame, isSameTls, type Credentials, type KubernetesAccess } from './kubeconfig.ts';

export type ConnectionOptions = Pick<HttpOptions, 'maxConnections' | 'onReply' | 'retry'>;

/**
 * The one way to an API server: kept-alive connections, and the credentials of the moment with each request. Where they are
 * refused (401) they are read anew and, if others came of it, the request is sent once more; it was not carried out.
 */
export class Connection {
  readonly address: string;
  readonly #access: KubernetesAccess;
  readonly #options: ConnectionOptions;
  #http: { readonly transport: Http; readonly credentials: Credentials } | undefined;

  constructor(access: KubernetesAccess, options: ConnectionOptions) {
    this.address = access.address;
    this.#access = access;
    this.#options = options;
  }

  /** @returns the reply, whatever its status. @throws TargetError as Http.request does; `denied` without credentials. */
  async request(request: HttpRequest): Promise<HttpResponse> {
    const credentials = await this.#access.credentials();
    const response = await this.#send(request, credentials);
    if (response.status !== 401) return response;
    const renewed = await this.#access.renewed(credentials);
    return isSame(credentials, renewed) ? response : this.#send(request, renewed);
  }

  /** As Http.lines. */
  async *lines(request: LinesRequest): AsyncGenerator<string | HttpResponse> {
    const credentials = await this.#access.credentials();
    for await (const line of this.#listen(request, credentials)) {
      const isRefused = typeof line !== 'string' && line.status === 401;
      const renewed = isRefused ? await this.#access.renewed(credentials) : credentials;
      if (isSame(credentials, renewed)) yield line;
      else yield* this.#listen(request, renewed);
    }
  }

  async close(): Promise<void> {
    await this.#http?.transport.close();
  }

  #send(request: HttpRequest, credentials: Credentials): Promise<HttpResponse> {
    return this.#transport(credentials).request({
      ...request,
      headers: { ...request.headers, ...credentials.headers },
    });
  }

  #listen(request: LinesRequest, credentials: Credentials): AsyncGenerator<string | HttpResponse> {
    return this.#transport(credentials).lines({ ...request, headers: { ...request.headers, ...credentials.headers } });
  }

  /** Certificates belong to the connections: with other ones there are others. */
  #transport(credentials: Credentials): Http {
    const old = this.#http;
    if (old !== undefined && isSameTls(old.credentials, credentials)) return old.transport;
    const transport = new Http({ ...this.#options, address: this.address, tls: credentials.tls });
    this.#http = { transport, credentials };
    void old?.transport.close();
    return transport;
  }
}

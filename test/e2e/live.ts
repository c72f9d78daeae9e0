/** What Nomad and Vault hold, asked without our own clients. */

interface Server {
  readonly address: string;
  readonly token: string;
}

export class LiveNomad {
  constructor(readonly server: Server) {}

  async request<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    const response = await fetch(`${this.server.address}${path}`, {
      method,
      headers: { 'x-nomad-token': this.server.token },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: parse(await response.text()) as T };
  }

  async tokens(): Promise<{ AccessorID: string; Name: string; Type: string; Policies: string[] | null }[]> {
    return (
      await this.request<{ AccessorID: string; Name: string; Type: string; Policies: string[] | null }[]>(
        'GET',
        '/v1/acl/tokens',
      )
    ).body;
  }

  async token(accessorId: string): Promise<Record<string, unknown>> {
    return (await this.request<Record<string, unknown>>('GET', `/v1/acl/token/${accessorId}`)).body;
  }

  /** The tokens that carry our marker. */
  async marked(): Promise<Awaited<ReturnType<LiveNomad['tokens']>>> {
    return (await this.tokens()).filter((token) => token.Name.includes(' [na:'));
  }

  async policyNames(): Promise<string[]> {
    return (await this.request<{ Name: string }[]>('GET', '/v1/acl/policies')).body.map((p) => p.Name).sort();
  }

  putPolicy(name: string, rules: string): Promise<unknown> {
    return this.request('PUT', `/v1/acl/policy/${name}`, { Name: name, Rules: rules });
  }

  /** @returns undefined where there is no such policy. */
  async rulesOf(name: string): Promise<string | undefined> {
    const { status, body } = await this.request<{ Rules: string }>('GET', `/v1/acl/policy/${name}`);
    return status === 200 ? body.Rules : undefined;
  }

  /** Whether somebody who holds a secret is somebody to Nomad. */
  async accepts(secretId: string): Promise<boolean> {
    const response = await fetch(`${this.server.address}/v1/acl/token/self`, {
      headers: { 'x-nomad-token': secretId },
    });
    return response.status === 200;
  }

  /** Deletes every policy, and every token but the bootstrap token. */
  async clear(): Promise<void> {
    for (const name of await this.policyNames()) await this.request('DELETE', `/v1/acl/policy/${name}`);
    for (const { AccessorID, Name } of await this.tokens())
      if (Name !== 'Bootstrap Token') await this.request('DELETE', `/v1/acl/token/${AccessorID}`);
  }

  /** Every policy, token and role, whole, but for the indexes that any write moves. */
  async everything(): Promise<unknown> {
    const names = (await this.request<{ Name: string }[]>('GET', '/v1/acl/policies')).body.map((p) => p.Name);
    const policies = await Promise.all(
      names.map(async (name) => (await this.request('GET', `/v1/acl/policy/${name}`)).body),
    );
    const tokens = await Promise.all((await this.tokens()).map((t) => this.token(t.AccessorID)));
    return { policies, tokens, roles: (await this.request('GET', '/v1/acl/roles')).body };
  }
}

export class LiveVault {
  constructor(readonly server: Server) {}

  async request<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    const response = await fetch(`${this.server.address}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': this.server.token },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: parse(await response.text()) as T };
  }

  async data(path: string): Promise<Record<string, unknown> | undefined> {
    return (await this.request<{ data?: Record<string, unknown> }>('GET', path)).body.data;
  }

  async list(path: string): Promise<string[]> {
    return (await this.request<{ data?: { keys: string[] } }>('GET', `${path}?list=true`)).body.data?.keys ?? [];
  }

  async mounts(): Promise<string[]> {
    return Object.keys((await this.data('sys/auth')) ?? {}).sort();
  }

  /** Disables every auth mount but the built-in one, and deletes every policy that can be deleted. @param kept policies. */
  async clear(kept: readonly string[] = []): Promise<void> {
    for (const mount of await this.mounts()) if (mount !== 'token/') await this.request('DELETE', `sys/auth/${mount}`);
    for (const name of await this.list('sys/policies/acl'))
      if (name !== 'root' && name !== 'default' && !kept.includes(name))
        await this.request('DELETE', `sys/policies/acl/${name}`);
  }

  /** Every auth mount with its configuration and roles, and every policy. */
  async everything(): Promise<unknown> {
    const mounts = (await this.data('sys/auth')) ?? {};
    const auth = await Promise.all(
      Object.keys(mounts).map(async (mount) => {
        const roles = await this.list(`auth/${mount}role`);
        const role = await Promise.all(roles.map((name) => this.data(`auth/${mount}role/${name}`)));
        return { mount: mounts[mount], config: await this.data(`auth/${mount}config`), role };
      }),
    );
    const names = await this.list('sys/policies/acl');
    return { auth, policies: await Promise.all(names.map((name) => this.data(`sys/policies/acl/${name}`))) };
  }

  /** Logs in with a JWT. @returns the status, and the token where it worked. */
  async login(
    mount: string,
    role: string,
    jwt: string,
  ): Promise<{ status: number; token?: string; errors?: string[] }> {
    const { status, body } = await this.request<{ auth?: { client_token: string }; errors?: string[] }>(
      'POST',
      `auth/${mount}/login`,
      { role, jwt },
    );
    return { status, ...(body.auth && { token: body.auth.client_token }), ...(body.errors && { errors: body.errors }) };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

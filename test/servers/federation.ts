import { startNomad, type NomadServer } from './nomad.ts';

/** Two regions, of which the east is the authoritative one. Both have the same management token. */
export interface Federation {
  readonly east: NomadServer;
  readonly west: NomadServer;
  /** Nothing that is written from now on comes from the east to the west. */
  readonly sever: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

const east = `server {
  authoritative_region = "east"
}
`;

/** One server for each region. Ready means: what was written in the east has come to the west. */
export async function startFederation(): Promise<Federation> {
  const first = await startNomad({ client: false, region: 'east', config: east });
  const ask = async (method: string, path: string, body?: object): Promise<string> =>
    (
      await fetch(first.address + path, {
        method,
        headers: { 'x-nomad-token': first.token },
        ...(body && { body: JSON.stringify(body) }),
      })
    ).text();
  try {
    const reader = { Name: 'replication', Type: 'management', Global: true };
    const { AccessorID, SecretID } = JSON.parse(await ask('POST', '/v1/acl/token', reader)) as Record<string, string>;
    const second = await startNomad({
      client: false,
      region: 'west',
      token: first.token,
      config: `server {
  authoritative_region = "east"
  server_join {
    retry_join     = ["127.0.0.1:${String(first.ports.serf)}"]
    retry_interval = "1s"
  }
}
acl {
  replication_token = ${JSON.stringify(SecretID)}
}
`,
    });
    return {
      east: first,
      west: second,
      sever: async () => {
        await ask('DELETE', `/v1/acl/token/${AccessorID ?? ''}`);
      },
      stop: async () => {
        await Promise.all([first.stop(), second.stop()]);
      },
    };
  } catch (error) {
    await first.stop();
    throw error;
  }
}

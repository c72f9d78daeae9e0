export interface NomadPorts {
  http: number;
  rpc: number;
  serf: number;
}

export interface NomadTls {
  caFile: string;
  /** The server's certificate; the harness also presents it as a client, so it must be good for both. */
  certFile: string;
  keyFile: string;
  /** Whether HTTPS clients must present a certificate (mTLS). */
  verifyHttpsClient: boolean;
}

export interface AgentSettings {
  dataDir: string;
  ports: NomadPorts;
  client?: boolean;
  region?: string;
  vaultAddress?: string;
  tls?: NomadTls;
  acl?: boolean;
}

/** The agent's configuration in HCL. */
export function agentConfig(settings: AgentSettings): string {
  const { ports } = settings;
  return `
data_dir  = ${quote(settings.dataDir)}
region    = ${quote(settings.region ?? 'global')}
bind_addr = "127.0.0.1"

# No call home.
disable_update_check = true

advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}

ports {
  http = ${ports.http}
  rpc  = ${ports.rpc}
  serf = ${ports.serf}
}

server {
  enabled          = true
  bootstrap_expect = 1
}

acl {
  enabled = ${settings.acl ?? true}

  # How long a client trusts a token that it looked up: see hurryHeartbeat.
  token_ttl = "1ms"
}

# Not to be found by, nor to look for, a Consul that happens to run on the machine.
consul {
  auto_advertise   = false
  server_auto_join = false
  client_auto_join = false
}
${settings.client === false ? '' : clientBlocks()}
${settings.vaultAddress === undefined ? '' : vaultBlock(settings.vaultAddress)}
${settings.tls === undefined ? '' : tlsBlock(settings.tls)}`;
}

function clientBlocks(): string {
  return `
client {
  enabled = true
  options = {
    # The cloud fingerprinters ask addresses outside the machine and wait for their timeouts.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul"
    "driver.allowlist"     = "raw_exec"
  }
}

plugin "raw_exec" {
  config {
    enabled = true
  }
}
`;
}

function vaultBlock(address: string): string {
  return `
vault {
  enabled               = true
  address               = ${quote(address)}
  jwt_auth_backend_path = "jwt-nomad"
  default_identity {
    aud = ["vault.io"]
    ttl = "1h"
  }
}
`;
}

function tlsBlock(tls: NomadTls): string {
  return `
tls {
  http                = true
  ca_file             = ${quote(tls.caFile)}
  cert_file           = ${quote(tls.certFile)}
  key_file            = ${quote(tls.keyFile)}
  verify_https_client = ${tls.verifyHttpsClient}
}
`;
}

/** JSON's escapes are HCL's too; paths and addresses hold no template markers. */
function quote(text: string): string {
  return JSON.stringify(text);
}

/** How an OIDC method proves itself to its provider (private_key_jwt and its like). */
export interface ClientAssertion {
  /** `nomad`, `client_secret` or `private_key`. */
  readonly KeySource: string;
  readonly Audience: readonly string[];
  readonly PrivateKey: AssertionKey | null;
  readonly ExtraHeaders: Readonly<Record<string, string>> | null;
  readonly KeyAlgorithm: string;
  readonly ClientSecret: string;
}

const KEY_FIELDS = ['PemKey', 'PemKeyFile', 'KeyIDHeader', 'PemCert', 'PemCertFile', 'KeyID'] as const;
type AssertionKey = Readonly<Record<(typeof KEY_FIELDS)[number], string>>;

/** With what Nomad fills in: the audience is the provider, the secret that of the method, an algorithm by the key's source. */
export function assertionOf(
  body: unknown,
  config: { readonly OIDCDiscoveryURL: string; readonly OIDCClientSecret: string },
): ClientAssertion | null {
  if (typeof body !== 'object' || body === null) return null;
  const given = body as Partial<ClientAssertion>;
  const KeySource = given.KeySource ?? '';
  const algorithm = { client_secret: 'HS256', nomad: 'RS256', private_key: 'RS256' }[KeySource] ?? '';
  return {
    KeySource,
    Audience: given.Audience?.length ? given.Audience : [config.OIDCDiscoveryURL],
    PrivateKey: given.PrivateKey ? keyOf(given.PrivateKey) : null,
    ExtraHeaders: given.ExtraHeaders ?? null,
    KeyAlgorithm: given.KeyAlgorithm || algorithm,
    ClientSecret: config.OIDCClientSecret,
  };
}

function keyOf(body: Partial<AssertionKey>): AssertionKey {
  const key = Object.fromEntries(KEY_FIELDS.map((name) => [name, body[name] ?? ''])) as AssertionKey;
  if (key.KeyIDHeader !== '') return key;
  const header = key.PemCert || key.PemCertFile ? 'x5t#S256' : key.KeyID ? 'kid' : '';
  return { ...key, KeyIDHeader: header };
}

export function assertionProblem(assertion: ClientAssertion | null): string | false {
  if (assertion === null) return false;
  const problem = problemOf(assertion);
  return problem !== undefined && `invalid client assertion config: ${problem}`;
}

function problemOf({ Audience, KeySource, PrivateKey, ClientSecret }: ClientAssertion): string | undefined {
  if (!Audience[0]) return 'missing Audience';
  switch (KeySource) {
    case 'nomad':
      return undefined;
    case 'client_secret':
      return ClientSecret === '' ? 'OIDCClientSecret is required for `client_secret` KeySource' : undefined;
    case 'private_key':
      if (PrivateKey === null) return 'PrivateKey is required for `private_key` KeySource';
      return prefixed('invalid PrivateKey: ', keyProblem(PrivateKey));
    default:
      return `invalid KeySource "${KeySource}"`;
  }
}

function keyProblem(key: AssertionKey): string | undefined {
  const ids = [key.PemCert, key.PemCertFile, key.KeyID].filter((value) => value !== '').length;
  if (key.PemKey === '' && key.PemKeyFile === '') return 'missing PemKey or PemKeyFile';
  if (key.PemKey !== '' && key.PemKeyFile !== '') return 'require only one of PemKey or PemKeyFile';
  if (key.PemKeyFile !== '' && !key.PemKeyFile.startsWith('/'))
    return `invalid PemKeyFile: must be absolute; got: ${key.PemKeyFile}`;
  if (ids === 0) return 'missing PemCert, PemCertFile, or KeyID';
  if (ids > 1) return 'require only one of PemCert, PemCertFile, or KeyID';
  if (key.PemCertFile !== '' && !key.PemCertFile.startsWith('/'))
    return `invalid PemCertFile: must be absolute; got: ${key.PemCertFile}`;
  if (key.KeyID !== '' && key.KeyIDHeader !== 'kid') return 'invalid KeyIDHeader; key header for key ID must be "kid"';
  if (key.KeyID === '' && !['x5t', 'x5t#S256'].includes(key.KeyIDHeader))
    return 'invalid KeyIDHeader; certificate-derived key header must be one of: "x5t#S256", "x5t"';
  return undefined;
}

const prefixed = (prefix: string, problem: string | undefined): string | undefined =>
  problem === undefined ? undefined : prefix + problem;

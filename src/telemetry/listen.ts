import { UsageError } from '../contract/errors.ts';

export const DEFAULT_LISTEN = '127.0.0.1:8080';

/** Where to listen. Without a host: on all addresses of the machine. Port 0: a free one. */
export interface ListenAddress {
  readonly host: string | undefined;
  readonly port: number;
}

const FORM = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|(?<host>[\w.-]*)):(?<port>\d{1,5})$/;

/** Reads `HOST:PORT`, `:PORT` and `[IPv6]:PORT`. @throws UsageError */
export function parseListen(text: string): ListenAddress {
  const groups = FORM.exec(text)?.groups;
  if (groups === undefined) throw new UsageError(`--listen ${text}: ${hint(text)}`);
  const port = Number(groups['port']);
  if (port > 65_535) throw new UsageError(`--listen ${text}: a port is at most 65535`);
  const host = groups['ipv6'] ?? groups['host'];
  return { host: host === '' ? undefined : host, port };
}

function hint(text: string): string {
  const forms = 'write HOST:PORT, :PORT or [IPv6]:PORT, such as 127.0.0.1:8080';
  if (text.includes('/')) return `an address, not a URL: ${forms}`;
  if (/^[0-9a-fA-F:]*:[0-9a-fA-F:]*:\d*$/.test(text)) return `an IPv6 address stands in brackets: ${forms}`;
  if (!text.includes(':')) return `the port is missing: ${forms}`;
  return forms;
}

import { isIP } from 'node:net';

/**
 * An address or a range as Vault answers it: without the length that every single address has, IPv6 in the short form of
 * RFC 5952.
 * @returns undefined for anything else. Vault takes that for an address with a port or a UNIX socket, without a word.
 */
export function canonicalCidr(text: string): string | undefined {
  const [, address = '', length] = /^([^/%]+)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  if (family === 0) return undefined;
  const longest = family === 4 ? 32 : 128;
  const bits = length === undefined ? longest : Number(length);
  if (bits > longest) return undefined;
  const short = family === 4 ? address : shortIpv6(address);
  if (short.startsWith('::ffff:')) return undefined;
  return bits === longest ? short : `${short}/${String(bits)}`;
}

function shortIpv6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

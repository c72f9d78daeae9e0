import { createHash } from 'node:crypto';
import { idOf, type Resource } from '../../contract/resource.ts';
import type { ResourceId } from '../../plan/step.ts';

/**
 * The marker at the end of a token's name or a binding rule's description: `ci [na:k3j9x2m4qz.1]`. Neither has a unique name on
 * Nomad, or a field for an owner, so the marker is what finds one again after a crash, a lost inventory or a restored cluster.
 */
export interface Marker {
  readonly owner: string;
  /** Counts the objects that one resource has had; a replacement takes the next number. */
  readonly sequence: number;
}

const MARKER = /(?:^| )\[na:([a-z2-7]{16})\.([1-9][0-9]{0,8})\]$/;
const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

const known = new WeakMap<Resource, { readonly installation: string; readonly owner: string }>();

/** As `ownerId` has it: it is asked for in every plan of a resource, and computed once. */
export function ownerOf(installation: string, resource: Resource): string {
  const before = known.get(resource);
  if (before?.installation === installation) return before.owner;
  const owner = ownerId(installation, idOf(resource));
  known.set(resource, { installation, owner });
  return owner;
}

/** @returns 16 characters (80 bits) that stand for installation, kind, namespace and name. */
export function ownerId(installation: string, resource: ResourceId): string {
  const text = [installation, resource.kind, resource.namespace, resource.name].join('\0');
  const digest = createHash('sha256').update(text).digest();
  let bits = 0n;
  for (const byte of digest.subarray(0, 10)) bits = (bits << 8n) | BigInt(byte);
  return Array.from({ length: 16 }, (_, i) => BASE32[Number((bits >> BigInt(75 - 5 * i)) & 31n)]).join('');
}

export function markedName(name: string, marker: Marker): string {
  return `${name} [na:${marker.owner}.${String(marker.sequence)}]`.trimStart();
}

/** What it is called without its marker. */
export function unmarked(liveName: string): string {
  return liveName.replace(MARKER, '');
}

export function markerOf(liveName: string): Marker | undefined {
  const match = MARKER.exec(liveName);
  return match?.[1] === undefined ? undefined : { owner: match[1], sequence: Number(match[2]) };
}

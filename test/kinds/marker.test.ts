import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Resource } from '../../src/contract/resource.ts';
import { markedName, markerOf, ownerId, ownerOf } from '../../src/kinds/marked/marker.ts';

describe('the marker in a token’s name', () => {
  const resource = { kind: 'AclToken', namespace: 'default', name: 'ci' };

  it('is read back from any name', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), fc.integer({ min: 1, max: 1000 }), (name, sequence) => {
        const marker = { owner: ownerId('default', resource), sequence };
        expect(markerOf(markedName(name, marker))).toEqual(marker);
      }),
    );
  });
  it('differs by installation, namespace and name, and stays the same for the same', () => {
    const ids = [
      ownerId('default', resource),
      ownerId('other', resource),
      ownerId('default', { ...resource, namespace: 'x' }),
      ownerId('default', { ...resource, name: 'x' }),
    ];
    expect(new Set(ids).size).toBe(4);
    expect(ownerId('default', { ...resource })).toBe(ids[0]);
  });
  it('is that of the resource and the installation, however often it is asked for', () => {
    const declared = { ...resource, metadata: { name: 'ci', namespace: 'default' } } as unknown as Resource;
    for (const installation of ['default', 'default', 'other'])
      expect(ownerOf(installation, declared)).toBe(ownerId(installation, resource));
  });
  it('fits with the longest name into what Nomad takes', () => {
    const name = markedName('x'.repeat(200), { owner: ownerId('default', resource), sequence: 999_999_999 });
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(256);
  });
  it.each(['ci', 'ci [na:]', 'ci [na:abc.1]', 'ci [na:aaaaaaaaaaaaaaaa.0]', 'ci [na:aaaaaaaaaaaaaaaa.1] '])(
    '%j has none',
    (name) => {
      expect(markerOf(name)).toBeUndefined();
    },
  );
});

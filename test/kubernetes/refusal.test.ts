import { describe, expect, it } from 'vitest';
import { refusal } from '../../src/kubernetes/refusal.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

function refused(status: number, body: object | string, path = MAPS): ReturnType<typeof refusal> {
  const text = typeof body === 'string' ? body : JSON.stringify({ kind: 'Status', ...body });
  return refusal({ method: 'POST', address: 'https://server', path }, { status, headers: {}, text });
}

describe('a refusal of the API server', () => {
  it.each([
    [400, 'terminal'],
    [401, 'denied'],
    [403, 'denied'],
    [404, 'dependency'],
    [405, 'terminal'],
    [409, 'transient'],
    [410, 'transient'],
    [413, 'terminal'],
    [422, 'terminal'],
    [429, 'transient'],
    [500, 'transient'],
    [503, 'transient'],
    [504, 'transient'],
  ])('of status %i is %s', (status, errorClass) => {
    expect(refused(status, { message: 'no' })).toMatchObject({ class: errorClass, status, ambiguous: false });
  });
  it('because a namespace is ending waits for it, and is no matter of rights', () => {
    const body = { message: 'it is being terminated', details: { causes: [{ reason: 'NamespaceTerminating' }] } };
    expect(refused(403, body)).toMatchObject({ class: 'dependency', status: 403 });
  });
  it('names the request and has the server’s own words', () => {
    expect(refused(404, { message: 'namespaces "x" not found' }).message).toBe(
      `POST https://server${MAPS}: namespaces "x" not found`,
    );
  });
  it('has the text where the server sent no more than that, but never a page', () => {
    expect(refused(404, '404 page not found\n').message).toContain('status 404 404 page not found');
    expect(refused(502, '<html><body>Bad Gateway</body></html>').message).toMatch(/: status 502$/);
  });
  it.each(['/api/v1/namespaces/apps/secrets', '/api/v1/namespaces/apps/secrets/token'])(
    'says of a Secret which fields, and not what was sent: %s',
    (path) => {
      const body = {
        message: 'Invalid value: "hunter2"',
        reason: 'Invalid',
        details: { causes: [{ field: 'data[a]', message: 'hunter2' }] },
      };
      expect(refused(422, body, path).message).toBe(`POST https://server${path}: status 422 Invalid data[a]`);
      expect(refused(409, { message: 'secrets "token" already exists' }, path).message).toContain('already exists');
    },
  );
});

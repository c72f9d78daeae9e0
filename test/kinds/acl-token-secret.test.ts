import { describe, expect, it } from 'vitest';
import { aclToken } from '../../src/kinds/acl-token/index.ts';
import { kubernetesSecretObject } from '../../src/kinds/acl-token/kubernetes-secret.ts';
import { markedName, ownerId } from '../../src/kinds/marked/marker.ts';
import { keyText, type Live, type Owned, type PlannedStep } from '../../src/plan/step.ts';
import { settled, stringIn } from '../../src/plan/value.ts';
import { entry, outline, planned } from './planning.ts';
import { holding, Rig, secretIdOf, stored, UID } from './secret-rig.ts';

const OWNER = ownerId('default', { kind: 'AclToken', namespace: 'default', name: 'ci' });
const NAME = markedName('ci', { owner: OWNER, sequence: 1 });
const KEY = { connection: 'local', type: 'kubernetes-secret', name: 'default/login' };
const SPEC = { policies: ['read'], writeSecretTo: { kubernetesSecret: { name: 'login' } } };
const KEYS = { accessorId: 'accessor_id', secretId: 'secret_id' };

const TOKEN: Live = {
  id: 'a',
  fields: { name: NAME, type: 'client', policies: ['read'], roles: [], global: false, expirationTtl: null },
  facts: { expiresAt: null },
};
const ownedToken = ({ id = '', fields }: Live): Owned =>
  entry('AclToken', { connection: 'default', type: 'acl-token', name: stringIn(fields, 'name') }, { id });

/** The step of the Secret, with the Secret read as it would be. */
async function stepFor(
  rig: Rig,
  owned?: Owned,
  spec: object = {},
  tokens: readonly Live[] = [TOKEN],
): Promise<PlannedStep> {
  const live = Object.fromEntries(tokens.map((token) => [`default/acl-token/${token.id ?? ''}`, token]));
  const all = [...tokens.map(ownedToken), ...(owned ? [owned] : [])];
  const look = (secret?: Live): PlannedStep => {
    const situation = { live: { ...live, ...(secret && { [keyText(KEY)]: secret }) }, owned: all };
    const step = planned(aclToken, { ...SPEC, ...spec }, situation, { uid: UID }).find((s) => s.key.type === KEY.type);
    if (step === undefined) throw new Error('no step for the Secret');
    return step;
  };
  return look(await rig.read(look().desired, owned));
}

/** What the inventory holds once a Secret was written. */
async function afterWriting(rig: Rig, spec: object = {}): Promise<Owned> {
  const { desired } = await stepFor(rig, undefined, spec);
  if (desired === undefined) throw new Error('nothing is declared');
  const live = await kubernetesSecretObject.create?.(rig.io, { ...desired, fields: settled(desired.fields) });
  if (live === undefined) throw new Error('nothing was made');
  const detail = { ...desired.detail, ...kubernetesSecretObject.remember?.(live) };
  return entry('AclToken', KEY, { id: live.id ?? '', detail });
}

async function written(rig: Rig): Promise<Owned> {
  const owned = await afterWriting(rig);
  rig.asked.length = 0;
  return owned;
}

async function update(rig: Rig, { desired, live }: PlannedStep): Promise<void> {
  if (desired === undefined || live === undefined) throw new Error('there is nothing to update');
  await kubernetesSecretObject.update?.(rig.io, { ...desired, fields: settled(desired.fields) }, live);
}

describe('the token’s Kubernetes Secret', () => {
  it('is told of in the plan before the token exists', () => {
    const steps = planned(aclToken, SPEC, {}, { uid: UID });
    expect(outline(steps)).toEqual([
      `create default/acl-token/${NAME} New`,
      'create local/kubernetes-secret/default/login New',
    ]);
  });

  it('gets both identifiers under its keys, the AclToken’s name, and its uid as owner', async () => {
    const rig = new Rig(undefined);
    await afterWriting(rig);
    const data = { accessor_id: 'a', secret_id: secretIdOf('a') };
    expect(rig.written).toEqual([
      [{ namespace: 'default', name: 'login', data, writtenFor: 'ci', owner: UID }, undefined],
    ]);
  });

  it('is not owned where it shall outlive the AclToken: Kubernetes would delete it', async () => {
    const rig = new Rig(undefined);
    const owned = await afterWriting(rig, { deletionPolicy: 'Orphan' });
    expect(rig.written[0]?.[0].owner).toBeUndefined();
    rig.secret = holding('a', { owners: [] });
    expect((await stepFor(rig, owned, { deletionPolicy: 'Orphan' })).step).toMatchObject({ action: 'noop' });
    expect((await stepFor(rig, owned)).step).toMatchObject({ action: 'update', reason: 'Changed' });
  });

  it('is in order without a look at the secret on Nomad', async () => {
    const rig = new Rig(undefined);
    const owned = await written(rig);
    expect((await stepFor(rig, owned)).step).toMatchObject({ action: 'noop', reason: 'InSync' });
    expect(rig.asked).toEqual([]);
  });

  it.each([
    ['another secret', stored({ accessor_id: 'a', secret_id: 'x' })],
    ['another accessor ID', stored({ accessor_id: 'x', secret_id: secretIdOf('a') })],
    ['one key only', stored({ secret_id: secretIdOf('a') })],
    ['no label', holding('a', { writtenFor: undefined })],
    ['the name of another AclToken', holding('a', { writtenFor: 'other' })],
    ['no owner', holding('a', { owners: ['somebody'] })],
  ])('of ours with %s is put back, as it was read', async (_what, secret) => {
    const rig = new Rig(undefined);
    const owned = await written(rig);
    rig.secret = secret;
    const step = await stepFor(rig, owned);
    expect(step.step).toMatchObject({ action: 'update', reason: 'Changed' });
    await update(rig, step);
    expect(rig.written.at(-1)?.[1]).toEqual({ resourceVersion: '7' });
    expect((await stepFor(rig, owned)).step.reason).toBe('InSync');
  });

  it('with other keys beside ours is in order', async () => {
    const rig = new Rig(undefined);
    const owned = await written(rig);
    rig.secret = stored({ accessor_id: 'a', secret_id: secretIdOf('a'), extra: 'theirs' });
    expect((await stepFor(rig, owned)).step.reason).toBe('InSync');
  });

  describe('that is not ours', () => {
    it.each(['IfIdentical', 'Always', 'Never'])(
      'is a Conflict under %s, and the message says what to do',
      async (adoptionPolicy) => {
        const { step } = await stepFor(new Rig(stored({ password: 'x' })), undefined, { adoptionPolicy });
        expect(step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
        if (adoptionPolicy !== 'Never') expect(step.message).toContain('delete it, or name another Secret');
      },
    );

    it('because somebody made it again under that name is a Conflict, and not overwritten', async () => {
      const rig = new Rig(undefined);
      const owned = await written(rig);
      rig.secret = stored({ accessor_id: 'x', secret_id: 'y' }, { uid: 'uid-2' });
      expect((await stepFor(rig, owned)).step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    });

    it('because its write was only intended is a Conflict', async () => {
      const pending = entry('AclToken', KEY, { state: 'pending', intent: 'x', detail: { keys: KEYS } });
      const { step } = await stepFor(new Rig(stored({ accessor_id: 'x', secret_id: 'y' })), pending);
      expect(step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    });

    it('that says it is for this token, but holds another secret, is a Conflict', async () => {
      const rig = new Rig(stored({ accessor_id: 'a', secret_id: 'y' }));
      expect((await stepFor(rig)).step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    });
  });

  describe('that the inventory does not know', () => {
    it('is taken where it holds the token, as after a lost inventory', async () => {
      expect((await stepFor(new Rig(holding('a')))).step).toMatchObject({ action: 'noop', reason: 'Adopted' });
    });

    it('and that lacks only our marks gets them', async () => {
      const rig = new Rig(holding('a', { writtenFor: undefined, owners: [] }));
      expect((await stepFor(rig)).step).toMatchObject({ action: 'update', reason: 'Adopted' });
    });

    it('is left alone under Never', async () => {
      const { step } = await stepFor(new Rig(holding('a')), undefined, { adoptionPolicy: 'Never' });
      expect(step).toMatchObject({ action: 'refuse', reason: 'Conflict' });
    });

    it('was made by a create of ours whose reply was lost', async () => {
      const { desired } = await stepFor(new Rig(undefined));
      const detail = desired?.detail ?? {};
      const pending = entry('AclToken', KEY, { state: 'pending', detail });
      expect((await stepFor(new Rig(holding('a')), pending)).step).toMatchObject({ action: 'noop' });
    });
  });

  it('of a token that was made anew gets the new one', async () => {
    const rig = new Rig(undefined);
    const owned = await written(rig);
    const fresh = {
      ...TOKEN,
      id: 'b',
      fields: { ...TOKEN.fields, name: markedName('ci', { owner: OWNER, sequence: 2 }) },
    };
    const step = await stepFor(rig, owned, {}, [fresh]);
    expect(step.step).toMatchObject({ action: 'update', reason: 'Changed' });
    await update(rig, step);
    expect(rig.written.at(-1)?.[0].data).toEqual({ accessor_id: 'b', secret_id: secretIdOf('b') });
  });

  describe('with other keys declared', () => {
    const keys = { accessorId: 'id', secretId: 'secret_id' };
    const renamed = { writeSecretTo: { kubernetesSecret: { name: 'login', keys } } };

    it('gets them in one write, and loses the former ones', async () => {
      const rig = new Rig(undefined);
      const owned = await written(rig);
      const step = await stepFor(rig, owned, renamed);
      expect(step.step.changes).toEqual([
        expect.objectContaining({
          before: expect.stringContaining('SecretID of a in secret_id, accessor ID in accessor_id') as string,
          after: expect.stringContaining('SecretID of a in secret_id, accessor ID in id') as string,
        }),
      ]);
      await update(rig, step);
      expect(rig.written.at(-1)?.[0].data).toEqual({ accessor_id: null, id: 'a', secret_id: secretIdOf('a') });
    });

    it('loses the former ones also when it was edited, and we were interrupted before', async () => {
      const rig = new Rig(undefined);
      const owned = await written(rig);
      const { desired } = await stepFor(rig, owned, renamed);
      rig.secret = stored({ accessor_id: 'a', secret_id: 'x' });
      const interrupted = { ...owned, detail: { ...owned.detail, ...desired?.detail } };
      const step = await stepFor(rig, interrupted, renamed);
      await update(rig, step);
      expect(rig.written.at(-1)?.[0].data).toEqual({ accessor_id: null, id: 'a', secret_id: secretIdOf('a') });
    });

    it('keeps a key of a former name that somebody adds later', async () => {
      const rig = new Rig(undefined);
      const owned = await afterWriting(rig, renamed);
      rig.secret = stored({ id: 'a', secret_id: secretIdOf('a'), accessor_id: 'theirs' }, { writtenFor: undefined });
      const before = { ...owned, detail: { ...owned.detail, formerKeys: KEYS } };
      await update(rig, await stepFor(rig, before, renamed));
      expect(rig.written.at(-1)?.[0].data).toEqual({ id: 'a', secret_id: secretIdOf('a') });
    });
  });

  it('is shown with nothing of the secret, in the plan and in the inventory', async () => {
    const rig = new Rig(undefined);
    const owned = await written(rig);
    rig.secret = stored({ accessor_id: 'a', secret_id: 'x' });
    const step = await stepFor(rig, owned);
    expect(JSON.stringify([step, owned])).not.toContain('c0ffee');
  });

  it('is named in the status', async () => {
    const rig = new Rig(holding('a'));
    const step = await stepFor(rig);
    const spec = aclToken.spec.parse(SPEC);
    const resource = { spec } as Parameters<NonNullable<typeof aclToken.status>>[0];
    const live = aclToken.status?.(resource, [step], {} as never);
    expect(live).toEqual({ secretName: 'login' });
  });
});

describe('a sink that the source has not got', () => {
  const problems = (writeSecretTo: object, uid?: string): readonly { path: string; message: string }[] =>
    aclToken.check?.({
      kind: 'AclToken',
      metadata: { name: 'ci', namespace: 'default', annotations: {}, ...(uid !== undefined && { uid }) },
      spec: aclToken.spec.parse({ ...SPEC, writeSecretTo }),
      source: 'a',
      folder: '/',
      locate: () => ({ file: 'a', line: 1, column: 1 }),
    }) ?? [];

  it('is refused: a file from an API server, a Secret from a directory', () => {
    const file = { file: { path: '/etc/passwd' } };
    const secret = { kubernetesSecret: { name: 'login' } };
    expect(problems(file, UID)).toMatchObject([{ path: 'spec.writeSecretTo.file' }]);
    expect(problems(secret)).toMatchObject([{ path: 'spec.writeSecretTo.kubernetesSecret' }]);
    expect([...problems(file), ...problems(secret, UID), ...problems({ none: {} }, UID)]).toEqual([]);
  });
});

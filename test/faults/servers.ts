import { aWhile, trouble, type Happenings } from './happening.ts';

/** A tenth of what is sent or answered is lost, or answered by an error. */
const ERRORS = { requestLost: 0.1, replyLost: 0.1, errorBefore: 0.1, errorAfter: 0.1 };

/** What happens to the servers and to the operator's process. */
export const serverHappenings: Happenings = {
  crash: (s) => {
    s.kill();
  },
  /** Where the most can be lost: what it has sent is done, and it does not know. */
  crashAtWrite: (s, c) => {
    s.killAt(1 + (c % 8), 100 + (c % 5_000));
  },
  start: (s) => {
    s.start();
  },
  clockJump: (s, c) => {
    s.clock.jump((c % 2 === 0 ? 1 : -1) * 3_600_000);
  },
  nomadDown: trouble('nomad', { isDown: true }),
  vaultDown: trouble('vault', { isDown: true }),
  nomadDenied: trouble('nomad', { isDenied: true }),
  vaultDenied: trouble('vault', { isDenied: true }),
  nomadErrors: trouble('nomad', ERRORS),
  vaultErrors: trouble('vault', ERRORS),
  streamTrouble: trouble('nomad', { streamEnds: 0.3, streamStalls: 0.2, eventTwice: 0.3 }),
  seal: (s, c) => {
    s.vault.seal();
    s.clock.after(aWhile(c), () => {
      s.vault.unseal();
    });
  },
  /** A snapshot is restored: the index goes back, what was made later is gone. */
  indexReset: (s) => {
    const { store, acl } = s.nomad;
    store.events.length = 0;
    store.index = Math.max(12, Math.floor(store.index * 0.7));
    for (const table of [acl.policies, acl.roles, acl.tokens, acl.authMethods, acl.bindingRules]) {
      table.lastIndex = Math.min(table.lastIndex, store.index);
      for (const [key, row] of table.rows) {
        if (row.CreateIndex > store.index && !isForeign(key, row)) table.rows.delete(key);
        else row.ModifyIndex = Math.min(row.ModifyIndex, store.index);
      }
    }
    Object.assign(s.faults.nomad, { isDown: true });
    s.clock.after(1000, () => {
      Object.assign(s.faults.nomad, { isDown: false });
    });
  },
};

function isForeign(key: string, row: object): boolean {
  const name = 'Name' in row ? row.Name : undefined;
  const description = 'Description' in row ? row.Description : undefined;
  return key === 'foreign' || name === 'foreign' || name === 'Bootstrap Token' || description === 'foreign';
}

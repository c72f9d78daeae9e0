import type { ObjectType } from '../../contract/kind.ts';
import type { Live, ObjectKey } from '../../plan/step.ts';

/**
 * That a method is the default one: there is one on a cluster, so that of several resources that declare it, one has it. It is
 * written with the method, and nothing of its own is on the server.
 */
export const defaultMethodObject: ObjectType = {
  name: 'acl-default-auth-method',
  connection: 'NomadCluster',
  after: ['acl-auth-method'],
  read: () => Promise.resolve({ objects: new Map() }),
};

export const THE_DEFAULT: Live = { fields: {} };

export function defaultMethodKey(connection: string): ObjectKey {
  return { connection, type: defaultMethodObject.name, name: 'default' };
}

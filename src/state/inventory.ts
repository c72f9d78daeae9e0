import { z } from 'zod';

/** The inventory as it is stored, whatever stores it. */

const value: z.ZodType = z.json();
const text = z.string();

export const entrySchema = z.object({
  key: z.object({ connection: text, type: text, name: text }),
  resource: z.object({ kind: text, namespace: text, name: text }),
  state: z.enum(['pending', 'owned']),
  intent: text.optional(),
  id: text.optional(),
  adopted: z.boolean(),
  deletionPolicy: z.enum(['Delete', 'Orphan']),
  suspended: z.boolean(),
  source: text,
  detail: z.record(text, value).optional(),
});

/** All but the objects. */
export const headSchema = z.object({
  version: z.literal(1, { error: 'was written by a newer version of nomad-access' }),
  owner: text,
  base: text.optional(),
  connections: z.array(
    z.object({
      kind: z.enum(['NomadCluster', 'VaultServer']),
      name: text,
      address: text,
      spec: value,
      folder: text.optional(),
      isFromEnvironment: z.boolean().optional(),
      credentialFrom: z.string().optional(),
    }),
  ),
});

export const inventorySchema = headSchema.extend({ objects: z.array(entrySchema) });

/** What a save changed: objects by `keyText` that are gone, and those that are new or not what they were. */
export const changeSchema = z.object({ head: headSchema.optional(), set: z.array(entrySchema), gone: z.array(text) });

/** `objects.0.state: Invalid option`, the first of what is wrong. */
export function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
}

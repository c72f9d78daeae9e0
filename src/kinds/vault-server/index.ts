import { z } from 'zod';
import type { Kind, PlanContext, SpecRule } from '../../contract/kind.ts';
import { idOf, type Resource } from '../../contract/resource.ts';
import { readable, type Desired } from '../../plan/step.ts';
import { grants, SECRET_ID_METHODS, tls, TOKEN_METHODS, VAULT_METHODS, vaultAuth } from '../connection.ts';
import { ownerId } from '../marked/marker.ts';
import { atMostOne, duration, exactlyOne, httpUrl } from '../schema.ts';
import { isMarked, marksOf, namespaceRules, placeOf, vaultNamespaceObject } from './namespace.ts';

const spec = z.strictObject({
  address: httpUrl.describe('Address of Vault: `https://vault.example.com:8200`.'),
  namespace: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('Enterprise namespace that everything happens in; sent as X-Vault-Namespace.'),
  createNamespace: z
    .boolean()
    .default(false)
    .describe(
      'Makes `namespace` where it is not there yet, before anything else through this connection, and makes it again where somebody deletes it. It is marked with the custom metadata `created-by=nomad-setup`, as `nomad setup vault` marks its own, and `nomad-access=ID`. Only one with both marks is ever deleted: after everything else, and only once nothing is left in it. One that exists without them is used and left alone. Needs Vault Enterprise, and a token of a namespace above. It was tried on this project’s sandbox only, not on Vault Enterprise. Only for a directory of manifests: Kubernetes refuses it.',
    ),
  tls: tls.optional(),
  auth: vaultAuth,
  maxConnections: z.int().min(1).max(256).default(32).describe('Connections at most.'),
  sweepInterval: duration
    .default('15s')
    .describe('How often the objects that are ours are read again (Vault has no events).'),
  requestBudget: z
    .int()
    .min(1)
    .max(10_000)
    .default(50)
    .describe('Requests a second at most for these reads; the interval stretches where they need more.'),
  grants: grants.optional(),
});
export type VaultServerSpec = z.infer<typeof spec>;

const NAMESPACE_PATH = /^\w[\w.-]*(\/\w[\w.-]*)*\/?$/;

/** What `createNamespace` goes with. */
const creation: readonly SpecRule[] = [
  {
    // Not all that `holds` asks: the API server takes none anyway, see below.
    cel: '!self.createNamespace || has(self.namespace)',
    holds: ({ createNamespace, namespace }: VaultServerSpec) =>
      !createNamespace || (namespace !== undefined && namespace !== 'root' && NAMESPACE_PATH.test(namespace)),
    path: 'createNamespace',
    message: 'createNamespace needs namespace: the path of the one to make, such as nomad-workloads or team/nomad',
  },
  {
    cel: `!self.createNamespace || ${TOKEN_METHODS.map((method) => `has(self.auth.${method})`).join(' || ')}`,
    holds: ({ createNamespace, auth }: VaultServerSpec) =>
      !createNamespace || TOKEN_METHODS.some((method) => auth[method] !== undefined),
    path: 'createNamespace',
    message:
      'createNamespace needs a token of a namespace above (tokenFile or tokenEnv): a login would happen in the namespace that is not there yet',
  },
  {
    // The API server alone asks this: connections have no finalizer there, which could wait for what is in the namespace.
    cel: '!self.createNamespace',
    path: 'createNamespace',
    message:
      'createNamespace is only for a directory of manifests: make the namespace by `vault namespace create`, and remove the field',
  },
];

export const vaultServer: Kind<VaultServerSpec> = {
  kind: 'VaultServer',
  plural: 'vaultservers',
  shortNames: ['vault'],
  scope: 'Cluster',
  description: 'A connection to a Vault server (and Enterprise namespace), and what may be done through it.',
  spec,
  rules: [exactlyOne('auth', VAULT_METHODS), atMostOne('auth.approle', SECRET_ID_METHODS), ...creation],
  printerColumns: [{ name: 'Address', type: 'string', jsonPath: '.spec.address' }],
  example: `apiVersion: nomad-access.io/v1alpha1
kind: VaultServer
metadata:
  name: default
spec:
  address: http://127.0.0.1:8200
  auth:
    tokenEnv: VAULT_TOKEN
`,
  planPaths: {
    'spec.createNamespace.MARK':
      'A mark in the custom metadata of the namespace that is made: created-by, or nomad-access with an ID of the installation and the VaultServer.',
  },
  types: [vaultNamespaceObject],
  references: () => [],
  objects: (resource, context) => namespaces(resource, context),
};

/** The namespace that the connection leads into, where it shall be made. */
function namespaces(resource: Resource<VaultServerSpec>, context: PlanContext): Desired[] {
  const { createNamespace, namespace } = resource.spec;
  const id = idOf(resource);
  const marks = marksOf(ownerId(context.owner, id));
  const made = (name: string): Desired => {
    const key = { connection: resource.metadata.name, type: vaultNamespaceObject.name, name };
    const live = context.live(key);
    const found = readable(live);
    return {
      key,
      resource: id,
      fields: marks,
      rules: namespaceRules,
      live,
      dependsOn: [],
      adoptionPolicy: 'IfIdentical',
      deletionPolicy: 'Delete',
      suspended: false,
      source: resource.source,
      ...(found &&
        !isMarked(found, marks) &&
        letGo('it is there and not marked as ours: it is used, and never changed or deleted')),
    };
  };
  if (createNamespace && namespace !== undefined) return [made(placeOf(namespace).path)];
  return context.ownedBy(resource).map(({ key }) => ({
    ...made(key.name),
    ...letGo('createNamespace is not set any more: it stays, and is ours no longer'),
  }));
}

function letGo(message: string): Pick<Desired, 'verdict'> {
  return { verdict: { action: 'noop', reason: 'Orphaned', message } };
}

import { stringify } from 'yaml';
import type { AnyKind, PrinterColumn } from '../contract/kind.ts';
import { GROUP, VERSION } from '../contract/resource.ts';
import { structuralSchema, type Schema } from './structural.ts';

/** Columns that every kind has behind its own. */
const COMMON_COLUMNS: readonly PrinterColumn[] = [
  { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
  { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
  { name: 'Last Drift', type: 'date', jsonPath: '.status.lastDrift.time' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  { name: 'Message', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].message', priority: 1 },
];

/** The CustomResourceDefinition of a kind. */
export function crd(kind: AnyKind): object {
  const singular = kind.kind.toLowerCase();
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: kind.scope,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular,
        shortNames: kind.shortNames,
        categories: ['nomad-access'],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: resourceSchema(kind) },
          subresources: { status: {} },
          additionalPrinterColumns: [...kind.printerColumns, ...COMMON_COLUMNS],
        },
      ],
    },
  };
}

/** The CRDs of all kinds, as YAML documents. */
export function crdYaml(kinds: readonly AnyKind[]): string {
  return kinds.map((kind) => yaml(crd(kind))).join('---\n');
}

export function yaml(object: object): string {
  return stringify(object, { lineWidth: 120, aliasDuplicateObjects: false });
}

function resourceSchema(kind: AnyKind): Schema {
  const spec = structuralSchema(kind.spec);
  const rules = kind.rules.flatMap(({ cel, path, message }) =>
    cel === undefined ? [] : [{ rule: cel, message, ...(path !== '' && { fieldPath: `.${path}` }) }],
  );
  if (rules.length > 0) spec['x-kubernetes-validations'] = rules;
  const isOptional = (spec.required ?? []).length === 0;
  return {
    type: 'object',
    description: kind.description,
    properties: {
      apiVersion: { type: 'string', description: `${GROUP}/${VERSION}` },
      kind: { type: 'string', description: kind.kind },
      // Declared for the sake of rules that point to it.
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: 253 } } },
      spec: { ...spec, description: 'What is declared.', ...(isOptional && { default: {} }) },
      status: STATUS,
    },
    ...(!isOptional && { required: ['spec'] }),
    ...(spec.properties?.['name'] !== undefined && {
      'x-kubernetes-validations': [namedByMetadata(spec.properties['name'])],
    }),
  };
}

/** Where `spec.name` is omitted, `metadata.name` has to keep what is said of it. */
function namedByMetadata({ pattern, maxLength }: Schema): object {
  const kept =
    pattern === undefined
      ? `size(self.metadata.name) <= ${String(maxLength)}`
      : `self.metadata.name.matches(r'${pattern}')`;
  return {
    rule: `has(self.spec.name) || ${kept}`,
    message: 'is no name for it on the server: set spec.name',
    fieldPath: '.metadata.name',
  };
}

const TIME: Schema = { type: 'string', format: 'date-time' };

/**
 * The conventions of `kubectl wait`, kstatus, Flux and Argo CD. The default is that of Flux: a resource that nobody has
 * looked at yet has observed an older generation than its own, so it is in progress and not, for want of conditions, fine.
 */
const STATUS: Schema = {
  type: 'object',
  description: 'What the operator last saw.',
  default: { observedGeneration: -1 },
  properties: {
    observedGeneration: {
      type: 'integer',
      format: 'int64',
      description: 'Generation of the spec that the rest is about; -1 before the operator has looked at it.',
    },
    conditions: {
      type: 'array',
      description: '`Ready` always; `Reconciling` and `Stalled` only while they are true.',
      maxItems: 16,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
      items: {
        type: 'object',
        required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
        properties: {
          type: { type: 'string', maxLength: 316, description: '`Ready`, `Reconciling` or `Stalled`.' },
          status: { type: 'string', enum: ['True', 'False', 'Unknown'], description: 'Whether it is so.' },
          observedGeneration: {
            type: 'integer',
            format: 'int64',
            minimum: 0,
            description: 'Generation of the spec that it is about.',
          },
          lastTransitionTime: { ...TIME, description: 'When the status last changed.' },
          reason: {
            type: 'string',
            maxLength: 1024,
            minLength: 1,
            pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
            description: 'Why, in one word for programs.',
          },
          message: { type: 'string', maxLength: 32768, description: 'Why, for people. Never a secret.' },
        },
      },
    },
    live: {
      type: 'object',
      description: 'Identifiers of the live objects.',
      'x-kubernetes-preserve-unknown-fields': true,
    },
    lastDrift: {
      type: 'object',
      description: 'The last change by somebody else that was put back.',
      properties: {
        time: { ...TIME, description: 'When it was put back.' },
        fields: {
          type: 'array',
          maxItems: 256,
          items: { type: 'string', maxLength: 1024 },
          description: 'Paths in the spec of what had been changed; none where the object had been deleted.',
        },
        object: { type: 'string', maxLength: 1024, description: 'The live object: `connection/type/name`.' },
      },
    },
    lastReconcileRequest: {
      type: 'string',
      maxLength: 1024,
      description: 'Value of the annotation `nomad-access.io/reconcile-requested-at` that was last acted on.',
    },
  },
};

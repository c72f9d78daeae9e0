import type { AnyKind } from '../../contract/kind.ts';
import type { KubernetesObject } from '../../contract/kubernetes.ts';
import { GROUP, type Resource } from '../../contract/resource.ts';
import { resourceText } from '../../plan/step.ts';
import { check } from '../directory/issues.ts';
import type { Status } from './conditions.ts';

/** An object of one of our kinds, as the API server has it. */
export interface CustomResource extends KubernetesObject {
  readonly spec?: unknown;
  readonly status?: Status;
}

/** What an object declares; where that is not valid, why not, each with the dotted path of its field. */
export interface Reading {
  /** With the spec as it stands, where it is not valid. */
  readonly resource: Resource;
  readonly errors: readonly string[];
}

/** What the inventory calls an object's origin. */
export function sourceOf(kind: string, namespace: string, name: string): string {
  return resourceText({ kind, namespace, name });
}

/** The schema of the CRD has been kept; what only we can check may still be wrong. */
export function readResource(kind: AnyKind, { metadata, spec }: CustomResource): Reading {
  const { name, namespace = '', uid, creationTimestamp, annotations = {} } = metadata;
  const source = sourceOf(kind.kind, namespace, name);
  const ours = Object.entries(annotations).filter(([key]) => key.startsWith(`${GROUP}/`));
  const of = (checked: unknown): Resource => ({
    kind: kind.kind,
    metadata: {
      name,
      namespace,
      annotations: Object.fromEntries(ours),
      ...(uid !== undefined && { uid }),
      ...(creationTimestamp !== undefined && { createdAt: creationTimestamp }),
    },
    spec: checked,
    source,
    folder: '/',
    locate: () => ({ file: source, line: 0, column: 0 }),
  });
  const result = check(kind.spec, spec ?? {});
  if ('issues' in result)
    return {
      resource: of(spec),
      errors: result.issues.map(({ path, message }) => said(['spec', ...path].join('.'), message)),
    };
  const resource = of(result.value);
  const broken = kind.rules.filter((rule) => rule.holds?.(result.value as never) === false);
  const errors = [
    ...broken.map((rule) => said(rule.path === '' ? 'spec' : `spec.${rule.path}`, rule.message)),
    ...(kind.check?.(resource) ?? []).map(({ path, message }) => said(path, message)),
  ];
  return { resource, errors };
}

function said(path: string, message: string): string {
  return `${path}: ${message}`;
}

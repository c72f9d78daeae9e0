import type { AnyKind } from '../contract/kind.ts';
import { API_VERSION } from '../contract/resource.ts';
import { structuralSchema, type Schema } from './structural.ts';

interface Field {
  readonly path: string;
  readonly type: string;
  readonly default: string;
  readonly description: string;
}

/** The reference page of a kind, as Markdown. */
export function referencePage(kind: AnyKind): string {
  const schema = structuralSchema(kind.spec);
  const rows = fieldsOf(schema, 'spec').map(
    (f) => `| \`${f.path}\` | ${f.type} | ${f.default} | ${cell(f.description)} |`,
  );
  const rules = kind.rules.map((rule) => `- ${rule.message}`);
  const types = kind.types.map((type) => `\`${type.name}\``).join(', ');
  return [
    `# ${kind.kind}`,
    '',
    kind.description,
    '',
    `\`${API_VERSION}\` · ${kind.scope === 'Cluster' ? 'cluster-scoped' : 'namespaced'} · \`kubectl get ${kind.shortNames[0] ?? kind.plural}\`${types === '' ? '' : ` · stands for ${types}`}`,
    '',
    '```yaml',
    kind.example.trimEnd(),
    '```',
    '',
    '| field | type | default | meaning |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
    ...(rules.length > 0 ? ['Rules:', '', ...rules, ''] : []),
    ...planPaths(kind),
  ].join('\n');
}

/** A plan's `path` is the dotted path of a field of the spec; here is what else it can be. */
function planPaths({ planPaths: paths }: AnyKind): string[] {
  if (paths === undefined) return [];
  const rows = Object.entries(paths).map(([path, meaning]) => `| \`${path}\` | ${cell(meaning)} |`);
  const head = 'The `path` of a change is the path of a field above. What else it can be, and what needs a word:';
  return ['## Paths in plans', '', head, '', '| path | meaning |', '| --- | --- |', ...rows, ''];
}

export function referenceIndex(kinds: readonly AnyKind[]): string {
  const rows = kinds.map((kind) => `| [${kind.kind}](${kind.kind}.md) | ${cell(kind.description)} |`);
  return [
    '# Kinds',
    '',
    'Generated from the schemas in `src/kinds` by `make generate`.',
    '',
    '| kind | what it is |',
    '| --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function fieldsOf(schema: Schema, path: string): Field[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const at = `${path}.${name}`;
    const isRequired = schema.required?.includes(name) ?? false;
    const shown = isRequired
      ? '**required**'
      : field.default === undefined
        ? ''
        : `\`${JSON.stringify(field.default)}\``;
    const row: Field = { path: at, type: typeOf(field), default: shown, description: field.description ?? '' };
    const inner = field.type === 'array' ? fieldsOf(field.items ?? {}, `${at}[]`) : fieldsOf(field, at);
    return [row, ...inner];
  });
}

function typeOf(field: Schema): string {
  if (field['x-kubernetes-int-or-string'] === true) return 'duration';
  if (field['x-kubernetes-preserve-unknown-fields'] === true) return 'string or list of strings';
  if (field.enum !== undefined) return field.enum.map((value) => `\`${String(value)}\``).join(' or ');
  if (field.type === 'array') return `list of ${typeOf(field.items ?? {})}s`;
  if (field.type === 'object' && typeof field.additionalProperties === 'object') return 'map';
  return field.type ?? '';
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

import { z } from 'zod';

/** A JSON schema as OpenAPI 3.0 has it, and as a CRD takes it once it is structural. */
export interface Schema {
  type?: string;
  description?: string;
  default?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  anyOf?: Schema[];
  enum?: unknown[];
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  duration?: boolean;
  /** What is wrong where the pattern is not kept, for a value that shall not be repeated. */
  unrepeated?: string;
  [extension: `x-kubernetes-${string}`]: unknown;
}

/** The schema of a kind's spec, in the form that a CRD needs. @throws Error for a field without a description. */
export function structuralSchema(spec: z.ZodType): Schema {
  const schema = z.toJSONSchema(spec, { target: 'openapi-3.0', io: 'input' }) as Schema;
  return structural(schema, 'spec');
}

/** API servers prune unknown fields themselves, and take types only where every value has the same one. */
function structural(schema: Schema, path: string): Schema {
  const { additionalProperties, anyOf, duration, unrepeated, properties, items, ...rest } = schema;
  if (duration === true && anyOf !== undefined) return intOrString(rest, anyOf);
  // No union of types is structural; that none of ours has a mapping in it can be said all the same.
  if (anyOf !== undefined) return { ...rest, 'x-kubernetes-preserve-unknown-fields': true, maxProperties: 0 };
  const result: Schema = { ...rest };
  if (unrepeated !== undefined) return inCel(result, unrepeated);
  if (rest.type === 'integer' && (rest.maximum ?? 0) >= Number.MAX_SAFE_INTEGER) delete result.maximum;
  // The server drops an empty one, and every `kubectl apply` would bring it anew.
  if (properties !== undefined && Object.keys(properties).length > 0) result.properties = fields(properties, path);
  if (items !== undefined) result.items = structural(items, `${path}[]`);
  if (typeof additionalProperties === 'object') {
    result.additionalProperties = structural(additionalProperties, `${path}.*`);
  }
  return result;
}

/** The error of a pattern repeats the value, that of CEL does not. */
function inCel({ pattern = '', ...rest }: Schema, message: string): Schema {
  return { ...rest, 'x-kubernetes-validations': [{ rule: `self.matches(r'${pattern}')`, message }] };
}

function fields(properties: Record<string, Schema>, path: string): Record<string, Schema> {
  const entries = Object.entries(properties).map(([name, field]): [string, Schema] => {
    const at = `${path}.${name}`;
    if (field.description === undefined) throw new Error(`${at} has no description`);
    return [name, structural(field, at)];
  });
  return Object.fromEntries(entries);
}

function intOrString(schema: Schema, forms: readonly Schema[]): Schema {
  const text = forms.find((form) => form.type === 'string');
  const number = forms.find((form) => form.type === 'integer');
  return {
    ...schema,
    'x-kubernetes-int-or-string': true,
    ...(text?.pattern !== undefined && { pattern: text.pattern }),
    ...(text?.maxLength !== undefined && { maxLength: text.maxLength }),
    ...(number?.minimum !== undefined && { minimum: number.minimum }),
    ...(number?.maximum !== undefined && { maximum: number.maximum }),
  };
}

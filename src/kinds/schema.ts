import { z } from 'zod';
import type { SpecRule } from '../contract/kind.ts';

/** Building blocks of the kinds' schemas. Bounds are on everything: without them the API server refuses CEL as too costly. */

const encoder = new TextEncoder();
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/** For the API server, what JSON schema can't say: CEL over `self`, the field. Goes into the field's `.meta()`. */
export function admission(rule: string, message: string): { 'x-kubernetes-validations': readonly object[] } {
  return { 'x-kubernetes-validations': [{ rule, message }] };
}

/** A text of at most `max` bytes: Nomad counts bytes, the API server characters. */
export function text(max: number): z.ZodString {
  const error = `must be at most ${String(max)} bytes`;
  return z
    .string()
    .max(max)
    .refine((s) => byteLength(s) <= max, { error })
    .meta(admission(`size(bytes(self)) <= ${String(max)}`, error));
}

/** Names of Nomad's policies, roles, auth methods. */
export const NOMAD_NAME = /^[a-zA-Z0-9-]{1,128}$/;
export const nomadName = z
  .string()
  .regex(NOMAD_NAME, { error: 'must be 1 to 128 letters, digits and dashes (Nomad allows no other character)' });

/** As Nomad writes IDs. */
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** What is wrong with a live name that metadata.name stands for. @param noun `a Nomad policy` */
export function misnamed(liveName: string, noun: string): { path: string; message: string }[] {
  if (NOMAD_NAME.test(liveName)) return [];
  return [
    {
      path: 'metadata.name',
      message: `"${liveName}" is no name for ${noun} (letters, digits, dashes): set spec.name`,
    },
  ];
}

/** Name of a connection: an RFC 1123 name. */
export const connectionName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, {
    error: 'must be the metadata.name of a connection (lower-case letters, digits, dashes, dots)',
  });

/** Paths on Vault. No part is "." or "..": they would lead to another path. */
export const MOUNT_PATH =
  /^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*(\/[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$/;
/** Where something is mounted on Vault. */
export const mountPath = z.string().max(512).regex(MOUNT_PATH, {
  error: 'must be a mount path without a slash at either end, and without "." or ".." in it',
});

/** HCL, JSON or PEM: long texts, bounded by what Nomad and the API server store. */
export const document = z.string().max(524_288);
export const pem = z
  .string()
  .max(131_072)
  .regex(/-----BEGIN [A-Z0-9 ]+-----/, { error: 'must be PEM (-----BEGIN ...-----)' });

/** The error of a URL's form: where somebody wrote a password into it, that is what is said, and it is not repeated. */
export function urlError(form: string): (issue: { readonly input?: unknown }) => string {
  return ({ input }) =>
    typeof input === 'string' && /^https?:\/\/[^/]*@/i.test(input)
      ? 'must not hold a user name or a password ("@"): it is no place for credentials'
      : form;
}

/**
 * For the `.meta()` of a field in which somebody may write a secret by mistake: the API server, too, shall say what is wrong,
 * and not repeat what was written.
 */
export function unrepeated(message: string): { unrepeated: string } {
  return { unrepeated: message };
}

/** What is written like a URL may still name no port or address that there can be. */
export function isUrl(text: string): boolean {
  return text.startsWith('unix://') || URL.canParse(text);
}
export const NO_URL = 'is no URL that leads anywhere: look at its host and port';

const HTTP_URL = 'must be a URL that begins with http:// or https://';
export const httpUrl = z
  .string()
  .max(2048)
  .regex(/^https?:\/\/[^\s/@]+(\/\S*)?$/, { error: urlError(HTTP_URL) })
  .refine(isUrl, { error: NO_URL })
  .meta(unrepeated(`${HTTP_URL}, without a user name or a password`));

const GO_DURATION = /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;
const SIGNED_GO_DURATION = /^-?([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/;
const UNIT_SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600 } as const;
/** A hundred years in seconds: Go's durations end at 292. */
const LONGEST = 3_153_600_000;
const isBounded = (text: string): boolean => Math.abs(seconds(text)) <= LONGEST;

/** A length of time: a Go duration ("1h30m") or an integer of seconds. */
export const duration = z
  .union([z.int().min(0).max(LONGEST), z.string().max(32).regex(GO_DURATION).refine(isBounded)], {
    error: 'must be a duration such as 30m or 1h30m, or an integer of seconds; at most a hundred years',
  })
  .meta({ duration: true });
export type Duration = z.infer<typeof duration>;

/** Vault's leeways, where a negative one means none at all. */
export const signedDuration = z
  .union([z.int().min(-LONGEST).max(LONGEST), z.string().max(32).regex(SIGNED_GO_DURATION).refine(isBounded)], {
    error: 'must be a duration such as 30m or 1h30m, or an integer of seconds; -1 for none',
  })
  .meta({ duration: true });

/** @returns seconds; Vault and Nomad count whole ones in what we set. */
export function seconds(value: Duration): number {
  if (typeof value === 'number') return value;
  let total = 0;
  for (const [, amount, , unit] of value.matchAll(/([0-9]+(\.[0-9]+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
  }
  return value.startsWith('-') ? -Math.round(total) : Math.round(total);
}

/** CEL for the seconds of a duration that is set. */
export function celSeconds(path: string): string {
  return `(type(self.${path}) == int ? self.${path} : duration(self.${path}).getSeconds())`;
}

/** One string, or a list of them: what Vault takes for its lists. */
export const oneOrMany = z.union([z.string().max(1024), z.array(z.string().max(1024)).max(256)], {
  error: 'must be a string or a list of strings',
});
export function many(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value;
}

/** What every managed kind has. */
export const managed = {
  suspend: z.boolean().default(false).describe('Stops everything for this resource, deletion too.'),
  deletionPolicy: z
    .enum(['Delete', 'Orphan'])
    .default('Delete')
    .describe('What happens to the live objects when the resource is removed: deleted, or left as they are.'),
  adoptionPolicy: z
    .enum(['IfIdentical', 'Always', 'Never'])
    .default('IfIdentical')
    .describe(
      'What happens when the live object exists already: taken over when it is identical to the declaration, always (and made equal), or never.',
    ),
};

/** Fails on the API server when the field is changed after creation; the plan refuses it in the directory. */
export function immutable(path: string): SpecRule {
  const at = `self.${path}`;
  const before = `oldSelf.${path}`;
  return {
    cel: `has(${at}) == has(${before}) && (!has(${at}) || ${at} == ${before})`,
    path,
    message: `${path} is immutable: delete the resource and create another one`,
  };
}

/** Exactly one of the fields is set. */
export function exactlyOne(parent: string, fields: readonly string[]): SpecRule {
  return {
    cel: `${countOf(parent, fields)} == 1`,
    holds: (spec: object) => {
      const count = numberOf(spec, parent, fields);
      return count === undefined || count === 1;
    },
    path: parent,
    message: `exactly one of ${fields.join(', ')} must be set${parent === '' ? '' : ` in ${parent}`}`,
  };
}

/** At most one of the fields is set, where their optional parent is: `auth.approle`. */
export function atMostOne(parent: string, fields: readonly string[]): SpecRule {
  return {
    cel: `!has(self.${parent}) || ${countOf(parent, fields)} <= 1`,
    holds: (spec: object) => (numberOf(spec, parent, fields) ?? 0) <= 1,
    path: parent,
    message: `at most one of ${fields.join(', ')} may be set in ${parent}`,
  };
}

function countOf(parent: string, fields: readonly string[]): string {
  const at = parent === '' ? 'self' : `self.${parent}`;
  return fields.map((f) => `(has(${at}.${f}) ? 1 : 0)`).join(' + ');
}

/** @returns undefined where there is no such parent. */
function numberOf(spec: object, parent: string, fields: readonly string[]): number | undefined {
  let holder: unknown = spec;
  for (const part of parent === '' ? [] : parent.split('.'))
    holder = (holder as Record<string, unknown> | undefined)?.[part];
  return holder === undefined
    ? undefined
    : fields.filter((f) => (holder as Record<string, unknown>)[f] !== undefined).length;
}

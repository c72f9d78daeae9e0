import { NomadError } from './errors.ts';

/** Fills `${name}` in, as HashiCorp's HIL does. @throws NomadError 500 for a name that there is not. */
export function interpolate(text: string, variables: Readonly<Record<string, string>>, failed: string): string {
  return text.replace(/\$\{([^}]*)\}/g, (_match, name: string) => {
    const value = variables[name.trim()];
    if (value === undefined) throw new NomadError(500, `${failed}: 1:3: unknown variable accessed: ${name.trim()}`);
    return value;
  });
}

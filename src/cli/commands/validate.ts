import { ENVIRONMENT } from '../../sources/directory/environment.ts';
import { errorText, type Output } from '../report.ts';
import { emptinessOf, loadManifests } from '../session.ts';
import type { ManifestOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';

export type ValidateOptions = Pick<ManifestOptions, 'file'> & { readonly output: Output };

/** Everything that can be checked without a server. */
export async function validate(options: ValidateOptions, terminal: Terminal, signal: AbortSignal): Promise<number> {
  const desire = await loadManifests(options, signal);
  const { errors, resources } = desire;
  if (options.output === 'json') terminal.out(JSON.stringify({ errors }, null, 2));
  else for (const error of errors) terminal.err(errorText(error));
  if (errors.length > 0) return 1;
  const empty = emptinessOf(desire, options.file ?? []);
  if (empty !== undefined) terminal.err(empty);
  const declared = resources.filter((r) => r.source !== ENVIRONMENT).length;
  if (options.output !== 'json')
    terminal.out(declared === 1 ? '1 resource is valid.' : `${String(declared)} resources are valid.`);
  return 0;
}

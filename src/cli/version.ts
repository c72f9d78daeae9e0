/** Set by the bundler from package.json. */
declare const NOMAD_ACCESS_VERSION: string | undefined;

export const VERSION: string = typeof NOMAD_ACCESS_VERSION === 'undefined' ? 'development' : NOMAD_ACCESS_VERSION;

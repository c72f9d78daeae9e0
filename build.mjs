// Bundles one executable that runs without a node_modules beside it.
import { build } from 'esbuild';
import { chmod, readFile } from 'node:fs/promises';

const { version } = JSON.parse(await readFile('package.json', 'utf8'));
const outfile = 'dist/nomad-access.js';
await build({
  entryPoints: ['src/main.ts'],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  define: { NOMAD_ACCESS_VERSION: JSON.stringify(version) },
  // What bundled CommonJS packages expect: require for Node's own modules, and their file's name.
  banner: {
    js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module';\nimport { fileURLToPath as __fileURLToPath } from 'node:url';\nconst require = __createRequire(import.meta.url);\nconst __filename = __fileURLToPath(import.meta.url);",
  },
  legalComments: 'external',
  logLevel: 'warning',
});
await chmod(outfile, 0o755);

// Bundles one executable that runs without a node_modules beside it.
import { build } from 'esbuild';
import { chmod, readFile } from 'node:fs/promises';

/**
 * Of the Kubernetes library only what reads a kubeconfig and finds credentials is used: requests go our own way. The classes
 * that are generated for the whole API, and other ways to send a request, would be most of its size, memory and time to load.
 */
const UNUSED = new Map([
  ['./gen/index.js', 'export const createConfiguration = undefined, ServerConfiguration = undefined;'],
  ['node-fetch', 'export const Headers = globalThis.Headers;'],
  ['socks-proxy-agent', 'export const SocksProxyAgent = undefined;'],
  ['hpagent', 'export const HttpProxyAgent = undefined, HttpsProxyAgent = undefined;'],
]);
const kubeconfigOnly = {
  name: 'kubeconfig-only',
  setup(plugin) {
    plugin.onResolve({ filter: /./ }, ({ path, importer }) =>
      UNUSED.has(path) && importer.includes('@kubernetes/client-node') ? { path, namespace: 'unused' } : undefined,
    );
    plugin.onLoad({ filter: /./, namespace: 'unused' }, ({ path }) => ({ contents: UNUSED.get(path) }));
  },
};

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
  plugins: [kubeconfigOnly],
  legalComments: 'external',
  logLevel: 'warning',
});
await chmod(outfile, 0o755);

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** `['COPY', '--from=build /a /b']`, one for each instruction of a Dockerfile without continued lines. */
function instructionsOf(text: string): { word: string; rest: string }[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [word = '', ...rest] = line.split(' ');
    return { word, rest: rest.join(' ') };
  });
}

const instructions = instructionsOf(read('Dockerfile'));
const last = (word: string): string => instructions.findLast((i) => i.word === word)?.rest ?? '';
const copies = instructions.filter((i) => i.word === 'COPY').map((i) => i.rest.split(' '));
const fromContext = copies.filter((words) => !words[0]?.startsWith('--')).flatMap((words) => words.slice(0, -1));
const fromBuild = copies.find((words) => words[0] === '--from=build') ?? [];
const outfile = /outfile = '([^']+)'/.exec(read('build.mjs'))?.[1] ?? '';

// No image is built here: what follows is what would make a build, or the pod that runs it, fail.
describe('the Dockerfile', () => {
  it('copies only what is there, and what the build context holds', () => {
    expect(fromContext.length).toBeGreaterThan(0);
    expect(fromContext.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    const ignored = read('.dockerignore').split('\n');
    expect(ignored).toContain('*');
    expect(
      fromContext.map((path) => `!${path.replace(/^\.\//, '')}`).filter((line) => !ignored.includes(line)),
    ).toEqual([]);
  });

  it('copies all that the build reads', () => {
    const needed = [...read('build.mjs').matchAll(/'([^']+\.(?:ts|json))'/g)].map(([, path = '']) => path);
    expect(needed).toContain('src/main.ts');
    const isCopied = (path: string): boolean =>
      fromContext.some((from) => path === from || path.startsWith(`${from}/`));
    expect(needed.filter((path) => !isCopied(path))).toEqual([]);
  });

  it('starts what is built, which runs under the name that it has in the image', () => {
    expect(fromBuild[1]).toBe(`/src/${outfile}`);
    const [program, file = ''] = JSON.parse(last('ENTRYPOINT')) as string[];
    expect([program, file]).toEqual(['node', fromBuild[2]]);
    const folder = mkdtempSync(join(tmpdir(), 'nomad-access-image-'));
    copyFileSync(join(ROOT, outfile), join(folder, basename(file)));
    const { status, stdout, stderr } = spawnSync(process.execPath, [basename(file), 'version'], {
      cwd: folder,
      encoding: 'utf8',
    });
    rmSync(folder, { recursive: true });
    expect(status, stderr).toBe(0);
    expect(stdout).toContain((JSON.parse(read('package.json')) as { version: string }).version);
  });

  it('runs as the user and with the arguments that the Deployment has', () => {
    const deployment = parse(read('manifests/install/operator/deployment.yaml')) as {
      spec: {
        template: {
          spec: {
            securityContext: { runAsUser: number; runAsGroup: number };
            containers: { args: string[]; ports: { containerPort: number }[] }[];
          };
        };
      };
    };
    const { securityContext, containers } = deployment.spec.template.spec;
    expect(last('USER')).toBe(`${String(securityContext.runAsUser)}:${String(securityContext.runAsGroup)}`);
    expect(JSON.parse(last('CMD'))).toEqual(containers[0]?.args);
    expect(last('EXPOSE')).toBe(String(containers[0]?.ports[0]?.containerPort));
  });

  it('takes its images from no host of its own choice, and nothing into the image but what it starts', () => {
    const images = instructions.filter((i) => i.word === 'FROM').map((i) => i.rest.split(' ')[0] ?? '');
    expect(images.filter((image) => !/^node:20-[a-z]+$/.test(image))).toEqual([]);
    const runtime = instructions.slice(instructions.findLastIndex((i) => i.word === 'FROM'));
    expect(runtime.filter((i) => i.word === 'RUN' || i.word === 'ADD')).toEqual([]);
    const copied = runtime.filter((i) => i.word === 'COPY').map((i) => i.rest.split(' ').at(-2));
    expect(copied).toEqual([`/src/${outfile}`, `/src/${outfile}.LEGAL.txt`, 'LICENSE']);
  });
});

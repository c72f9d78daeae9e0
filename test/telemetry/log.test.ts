import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LineWriter } from '../../src/telemetry/line-writer.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { oneLine } from '../../src/telemetry/one-line.ts';
import { sheet } from './steps.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** What some reader of logs takes for the end of a line, and what a terminal obeys. */
const UNFIT = /\p{Cs}|[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({
    unit: fc.constantFrom(
      '\n',
      '\r',
      '\u2028',
      '\u2029',
      '\u0085',
      '\u001b[31m',
      '\u009b',
      '\ud800',
      '\u202e',
      '%s',
      '"',
      '\\',
      'a',
      ' ',
    ),
    maxLength: 50,
  }),
);

describe('an entry of the log', () => {
  it('is one line for any message and any field, so that no server can forge an entry', () => {
    fc.assert(
      fc.property(anyText, anyText, fc.constantFrom('json' as const, 'text' as const), (message, field, format) => {
        const stream = sheet();
        createLog({ stream, format }).error(message, { object: field, reason: field, fields: [field] });
        expect(stream.text.endsWith('\n')).toBe(true);
        expect(stream.text.slice(0, -1)).not.toMatch(UNFIT);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is JSON that holds the message, also where that looks like a format', () => {
    const stream = sheet();
    createLog({ stream }).warn('100%s of %d {"level":"info"}', { kind: 'AclPolicy', seconds: 0.5, fields: ['a', 'b'] });
    expect(JSON.parse(stream.text)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      msg: '100%s of %d {"level":"info"}',
      kind: 'AclPolicy',
      seconds: 0.5,
      fields: ['a', 'b'],
    });
  });

  it('keeps what a server said over several lines readable on one', () => {
    expect(oneLine('2 errors occurred:\n\t* one\r\n\t* two\u001b[0m\n')).toBe('2 errors occurred: * one * two\\x1b[0m');
  });

  it('is cut where a proxy answered with a whole page', () => {
    const cut = oneLine('x'.repeat(1_000_000));
    expect(cut.length).toBeLessThan(2_100);
    expect(cut).toContain('(1000000 characters)');
  });

  it('is written only from the wanted level on', () => {
    const stream = sheet();
    const log = createLog({ stream, level: 'warn' });
    log.debug('a');
    log.info('b');
    log.warn('c');
    log.error('d');
    expect(stream.text.match(/"msg":"."/g)).toEqual(['"msg":"c"', '"msg":"d"']);
  });

  it('as text says time, level, message, and what the message does not say', () => {
    const stream = sheet();
    createLog({ stream, format: 'text' }).info('updated it', {
      kind: 'AclPolicy',
      reason: 'Changed',
      note: 'a b',
      seconds: 1.5,
    });
    expect(stream.text).toMatch(/^\S+Z INFO {2}updated it reason=Changed note="a b" seconds=1\.5\n$/);
  });

  it('that cannot be written does not end the work it tells of', () => {
    const log = createLog({
      stream: {
        write: () => {
          throw new Error('gone');
        },
      },
    });
    expect(() => {
      log.error('anything');
    }).not.toThrow();
  });
});

describe('colour', () => {
  const coloured = (isTTY: boolean, env: Record<string, string>, format: 'text' | 'json' = 'text'): boolean => {
    const stream = sheet(isTTY);
    createLog({ stream, format, env }).error('x', { reason: 'y' });
    return stream.text.includes('\u001b');
  };
  it.each([
    ['on a terminal', true, {}, true],
    ['not with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['with an empty NO_COLOR, which is none', true, { NO_COLOR: '' }, true],
    ['not in a file', false, {}, false],
  ])('%s', (_name, isTTY, env, expected) => {
    expect(coloured(isTTY, env)).toBe(expected);
  });
  it('never in JSON', () => {
    expect(coloured(true, {}, 'json')).toBe(false);
  });
});

describe('the log of the bundled executable', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-log-'));
  const bundle = join(folder, 'log.mjs');

  beforeAll(async () => {
    await build({
      stdin: {
        contents: `
          import { createTelemetry } from './src/telemetry/index.ts';
          const { log, metrics } = createTelemetry({ version: '1' });
          const count = Number(process.argv[2]);
          for (let i = 0; i < count; i++) log.info('entry ' + i);
          if ((await metrics.text()).includes('nodejs_version_info')) process.stdout.write('done');
          process.exit(0);`,
        resolveDir: ROOT,
        loader: 'ts',
      },
      outfile: bundle,
      bundle: true,
      platform: 'node',
      format: 'esm',
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);\nconst __filename = '';",
      },
    });
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('needs no file beside it, goes to standard error, and loses nothing at exit', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [bundle, '5000'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 30_000,
      maxBuffer: 1 << 26,
    });
    expect([status, stdout]).toEqual([0, 'done']);
    const lines = stderr.trimEnd().split('\n');
    expect(lines).toHaveLength(5_000);
    expect(JSON.parse(lines[4_999] ?? '')).toMatchObject({ level: 'info', msg: 'entry 4999' });
  });

  it.runIf(process.platform === 'linux')('a full disk does not end the operator', () => {
    const full = openSync('/dev/full', 'w');
    const { status, stdout } = spawnSync(process.execPath, [bundle, '5000'], {
      stdio: ['ignore', 'pipe', full],
      timeout: 30_000,
      encoding: 'utf8',
    });
    closeSync(full);
    expect([status, stdout]).toEqual([0, 'done']);
  });
});

describe.runIf(process.platform === 'linux')('standard error whose reader stands still', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nomad-access-pipe-'));
  const path = join(folder, 'pipe');
  spawnSync('mkfifo', [path]);
  const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  afterAll(() => {
    closeSync(pipe);
    rmSync(folder, { recursive: true, force: true });
  });

  function drain(): string {
    const buffer = Buffer.alloc(1 << 20);
    return buffer.toString('utf8', 0, readSync(pipe, buffer));
  }

  it('loses lines instead of stopping the operator, and goes on with a whole one', () => {
    const writer = new LineWriter(pipe);
    const long = `${'x'.repeat(5_000)}\n`;
    const begun = performance.now();
    for (let i = 0; i < 1_000; i++) writer.write(long);
    expect(performance.now() - begun).toBeLessThan(5_000);
    const kept = drain();
    expect(kept.length).toBeLessThan(100 * long.length);
    writer.write('the next\n');
    writer.write('and one more\n');
    expect(`${kept}${drain()}`.split('\n').slice(-3)).toEqual(['the next', 'and one more', '']);
  });
});

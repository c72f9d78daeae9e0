import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { explain } from '../../src/cli/failure.ts';
import { Interrupted } from '../../src/cli/interrupted.ts';
import { printProgress } from '../../src/cli/report.ts';
import { askOn, processTerminal, type Terminal } from '../../src/cli/terminal.ts';
import { owned } from '../plan/objects.ts';

const silent: Terminal = {
  out: () => undefined,
  err: () => undefined,
  paint: (_style, text) => text,
  paintErr: (_style, text) => text,
  interactive: false,
  ask: () => Promise.reject(new Error('nobody is there')),
};

describe('a question at the terminal', () => {
  const asked = (keys: string, signal = new AbortController().signal): Promise<string> => {
    const input = new PassThrough();
    const answer = askOn(input, Object.assign(new PassThrough(), { isTTY: true }), 'Do this? ', signal);
    input.write(keys);
    return answer;
  };
  const codeOf = async (answer: Promise<string>): Promise<{ code: number; said: string[] }> => {
    const said: string[] = [];
    const error: unknown = await answer.catch((reason: unknown) => reason);
    return { code: explain(error, { ...silent, err: (text) => said.push(text) }, false), said };
  };

  it('is answered by a line', async () => {
    expect(await asked(' yes \r')).toBe('yes');
  });

  it.each([
    ['Ctrl-C', '\x03', 130],
    ['Ctrl-D', '\x04', 1],
  ])('%s is a no, without a stack trace', async (_key, keys, code) => {
    expect(await codeOf(asked(keys))).toEqual({ code, said: ['Nothing was done.'] });
  });

  it('a signal from outside ends the waiting', async () => {
    const stop = new AbortController();
    const answer = asked('', stop.signal);
    stop.abort(new Interrupted('SIGTERM'));
    expect(await codeOf(answer)).toEqual({ code: 143, said: ['Interrupted: nothing was done.'] });
  });
});

describe('colour', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  it('is decided for each stream by itself: a log of stderr holds no escape sequences because stdout is a terminal', () => {
    vi.stubEnv('NO_COLOR', '');
    const streams = [process.stdout, process.stderr] as const;
    const before = streams.map((stream) => stream.isTTY);
    Object.assign(process.stdout, { isTTY: true });
    Object.assign(process.stderr, { isTTY: false });
    try {
      const { paint, paintErr } = processTerminal();
      expect([paint('delete', 'x'), paintErr('delete', 'x')]).toEqual(['\x1b[31mx\x1b[39m', 'x']);
    } finally {
      streams.forEach((stream, i) => Object.assign(stream, { isTTY: before[i] }));
    }
  });

  it('of progress is that of the stream that it goes to', () => {
    const said: string[] = [];
    const terminal: Terminal = {
      ...silent,
      err: (text) => said.push(text),
      paint: (_style, text) => `stdout:${text}`,
      paintErr: (_style, text) => `stderr:${text}`,
    };
    const { key, resource } = owned({});
    const step = {
      action: 'delete',
      ...resource,
      object: key.name,
      changes: [],
      reason: 'Removed',
      message: '',
    } as const;
    for (const status of ['done', 'failed'] as const)
      printProgress(terminal, { step, key, dependsOn: [] }, { status, message: 'why' });
    expect(said.map((text) => text.split(':')[0])).toEqual(['stderr', 'stderr']);
  });
});

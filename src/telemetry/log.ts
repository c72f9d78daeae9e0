import { isatty } from 'node:tty';
import { pino } from 'pino';
import { LineWriter } from './line-writer.ts';
import { oneLine } from './one-line.ts';
import { textLine } from './text.ts';

export const LOG_FORMATS = ['json', 'text'] as const;
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What an entry says beside its message. `level`, `time` and `msg` are taken. */
export type LogFields = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export type Log = Readonly<Record<LogLevel, (message: string, fields?: LogFields) => void>>;

/** Takes whole entries, each with its newline. */
export interface LogStream {
  readonly isTTY?: boolean;
  write(line: string): unknown;
}

export interface LogOptions {
  readonly format?: LogFormat;
  /** The least that is written; default `info`. */
  readonly level?: LogLevel;
  /** Default: standard error, so that standard output stays for data. */
  readonly stream?: LogStream;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const STDERR = 2;

/**
 * One line for each entry, whatever a message holds. Nothing is lost at exit.
 * Writing never throws: an operator goes on without its log.
 */
export function createLog(options: LogOptions = {}): Log {
  const stream = options.stream ?? standardError();
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
    },
    { write: writer(stream, options) },
  );
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (logger.isLevelEnabled(level)) logger[level](fit(fields), oneLine(message));
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function writer(stream: LogStream, options: LogOptions): (line: string) => void {
  const isColoured = (stream.isTTY ?? false) && ((options.env ?? process.env)['NO_COLOR'] ?? '') === '';
  const shape = options.format === 'text' ? (line: string) => textLine(line, isColoured) : (line: string) => line;
  return (line) => {
    try {
      stream.write(shape(line));
    } catch {
      // A full disk, say. There is nowhere left to say it.
    }
  };
}

/**
 * What is logged in one turn of the event loop is written at its end, by one call; and whatever is left when the process
 * ends. Not pino's own destination: on a full disk that keeps what it can't write, and then writes no more.
 */
function standardError(): LogStream {
  const lines = new LineWriter(STDERR);
  let waiting = '';
  const flush = (): void => {
    const text = waiting;
    waiting = '';
    if (text !== '') lines.write(text);
  };
  const later = (): void => {
    try {
      flush();
    } catch {
      // As in `writer`.
    }
  };
  process.once('exit', later);
  return {
    isTTY: isatty(STDERR),
    write: (line) => {
      if (waiting === '') setImmediate(later);
      waiting += line;
    },
  };
}

function fit(fields: LogFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, fitValue(value)]));
}

function fitValue(value: LogFields[string]): unknown {
  if (typeof value === 'string') return oneLine(value);
  return typeof value === 'object' ? value.map(oneLine) : value;
}

import { styleText } from 'node:util';

const STYLES = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' } as const;

/** What the message says already. */
const SAID = new Set(['kind', 'namespace', 'name', 'object', 'action', 'result', 'fields']);

/** An entry for people: time, level, message, and what the message doesn't say as `name=value`. Ends with a newline. */
export function textLine(json: string, isColoured: boolean): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown> & {
    level: keyof typeof STYLES;
    time: string;
    msg: string;
  };
  const paint = (style: 'dim' | (typeof STYLES)[keyof typeof STYLES], text: string): string =>
    isColoured ? styleText(style, text, { validateStream: false }) : text;
  const rest = Object.entries(fields)
    .filter(([name]) => !SAID.has(name))
    .map(([name, value]) => paint('dim', `${name}=${show(value)}`));
  return `${[paint('dim', time), paint(STYLES[level], level.toUpperCase().padEnd(5)), msg, ...rest].join(' ')}\n`;
}

function show(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/** Prometheus' text format 0.0.4, read strictly: what a scraper would refuse or misread throws. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly help: string;
  readonly type: string;
  readonly samples: readonly Sample[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"`;
const COMMENT = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`);
const SAMPLE = new RegExp(
  String.raw`^(${NAME})(?:\{(${LABEL}(?:,${LABEL})*)\})? (NaN|Nan|[+-]Inf|[+-]?[0-9.]+(?:e[+-]?[0-9]+)?)$`,
);
const SUFFIXES: Record<string, readonly string[]> = { histogram: ['_bucket', '_sum', '_count'] };

export function parseExposition(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, { help: string; type: string; samples: Sample[] }>();
  const series = new Set<string>();
  let current = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const comment = COMMENT.exec(line);
    if (comment !== null) {
      const [, what = '', name = '', rest = ''] = comment;
      if (what === 'HELP') {
        if (families.has(name)) throw new Error(`${name} twice`);
        families.set(name, { help: rest, type: '', samples: [] });
        current = name;
      } else {
        const family = families.get(name);
        if (family === undefined || name !== current) throw new Error(`TYPE without HELP: ${line}`);
        if (!['counter', 'gauge', 'histogram', 'summary'].includes(rest)) throw new Error(`no type: ${line}`);
        family.type = rest;
      }
      continue;
    }
    const sample = parseSample(line);
    const family = families.get(current);
    if (family === undefined || family.type === '') throw new Error(`sample before HELP and TYPE: ${line}`);
    const names = (SUFFIXES[family.type] ?? ['']).map((suffix) => `${current}${suffix}`);
    if (!names.includes(sample.name)) throw new Error(`${sample.name} is no part of ${family.type} ${current}`);
    const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (series.has(key)) throw new Error(`series twice: ${line}`);
    series.add(key);
    family.samples.push(sample);
  }
  for (const [name, family] of families) if (family.type === 'histogram') checkHistogram(name, family.samples);
  return families;
}

function parseSample(line: string): Sample {
  const match = SAMPLE.exec(line);
  if (match === null) throw new Error(`no sample: ${line}`);
  const [, name = '', labelText = '', value = ''] = match;
  const pairs = [...labelText.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(
    ([, label = '', text = '']) => [label, text.replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))] as const,
  );
  if (new Set(pairs.map(([label]) => label)).size !== pairs.length) throw new Error(`label twice: ${line}`);
  return { name, labels: Object.fromEntries(pairs), value: Number(value.replace('Inf', 'Infinity')) };
}

/** Buckets of a series rise, and the last one holds all. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const highest = new Map<string, number>();
  for (const { name: part, labels, value } of samples) {
    const { le, ...rest } = labels;
    const key = JSON.stringify(rest);
    if (part.endsWith('_bucket')) {
      if (value < (highest.get(key) ?? 0)) throw new Error(`buckets of ${name} fall at ${String(le)}`);
      highest.set(key, value);
    } else if (part.endsWith('_count') && highest.get(key) !== value) {
      throw new Error(`+Inf of ${name} is not its count`);
    }
  }
}

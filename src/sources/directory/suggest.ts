const LONGEST = 64;

/** The candidate that was probably meant. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > LONGEST) return undefined;
  const plural = candidates.find((candidate) => candidate.replace(/ies$/, 'y') === word && candidate !== word);
  if (plural !== undefined) return plural;
  const most = word.length <= 4 ? 1 : word.length <= 8 ? 2 : 3;
  let best: { candidate: string; distance: number } | undefined;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > most) continue;
    const distance = distanceOf(simplified(word), simplified(candidate));
    if (distance <= most && distance < (best?.distance ?? Infinity)) best = { candidate, distance };
  }
  return best?.candidate;
}

/** `job_acl`, `JobACL` and `jobAcl` are one word. */
function simplified(word: string): string {
  return word.toLowerCase().replace(/[-_]/g, '');
}

/** Insertions, deletions, replacements and exchanges of neighbours that make `b` of `a`. */
function distanceOf(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const around = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + cost);
      row.push(swapped ? Math.min(around, (before[j - 2] ?? 0) + 1) : around);
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}

/** `: did you mean "rules"?`, or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? '' : `: did you mean "${candidate}"?`;
}

/** `a`, `a or b`, `a, b or c`. */
export function oneOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
}

import { printable } from '../plan/render.ts';

/** A server may answer with a whole page of HTML; what is longer is cut. Characters. */
const LONGEST = 2_000;

/** What printable leaves and a reader of logs may not bear: half a surrogate pair, and what turns the direction of text. */
const UNFIT = /\p{Cs}|[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/gu;

/** Most texts are one line already: words of ASCII with single blanks between them. */
const PLAIN = /^[!-~]+(?: [!-~]+)*$/;

/** Text as one line that no terminal obeys: white space folded to single blanks, control characters as escapes. */
export function oneLine(text: string): string {
  if (text.length <= LONGEST && PLAIN.test(text)) return text;
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${String(text.length)} characters)` : text;
  return printable(short.replace(/\s+/g, ' ').trim()).replace(UNFIT, '\ufffd');
}

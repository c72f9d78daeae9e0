/** Fewer deletions than this are never too many. */
const LEAST = 5;

/** An empty checkout must not empty a cluster. @param recorded objects that the inventory holds. */
export function isTooMuch(deletions: number, recorded: number): boolean {
  return deletions >= LEAST && deletions * 2 > recorded;
}

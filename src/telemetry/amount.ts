/** A histogram takes no broken and no negative amount; a clock that jumps may make one. */
export function amount(seconds: number): number {
  return Number.isFinite(seconds) && seconds > 0 ? seconds : 0;
}

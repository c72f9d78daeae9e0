/** What a choice picks; there is at least one. */
export function at<T>(items: readonly T[], choice: number): T {
  return items[choice % items.length] as T;
}

/** One of the items, if there are any. */
export function one<T>(items: readonly T[], choice: number): T[] {
  return items.length === 0 ? [] : [at(items, choice)];
}

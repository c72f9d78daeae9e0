/** What it is rejected with. @throws Error where it is not, or with another sort of error. */
export async function failureOf<T extends Error>(
  sent: Promise<unknown>,
  sort: abstract new (...args: never[]) => T,
): Promise<T> {
  const error: unknown = await sent.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof sort) return error;
  throw new Error(`not a ${sort.name}: ${String(error)}`);
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, 'end of input': 1 } as const;

/** What ended a command before it did anything. */
export type Interruption = keyof typeof EXIT_CODES;

/** The command was ended from outside before it did anything. It is the reason of the aborted signal, too. */
export class Interrupted extends Error {
  /** What waits and requests throw where they are aborted: nothing is tried again after it. */
  override readonly name = 'AbortError';
  readonly exitCode: number;

  constructor(
    readonly by: Interruption,
    message = 'Interrupted: nothing was done.',
  ) {
    super(message);
    this.exitCode = EXIT_CODES[by];
  }
}

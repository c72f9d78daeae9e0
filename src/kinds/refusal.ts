import { TargetError, type ErrorClass } from '../contract/errors.ts';

/** What a refusal that matches is about: something else than the object that was written. */
export type Refusals = readonly (readonly [pattern: RegExp, errorClass: ErrorClass])[];

/** The reply to a write, whose refusals for other things' sake are classed as such. @throws TargetError */
export async function explained<Reply>(reply: Promise<Reply>, refusals: Refusals): Promise<Reply> {
  try {
    return await reply;
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    const { message, status } = error;
    const known = refusals.find(([pattern]) => pattern.test(message));
    if (known === undefined) throw error;
    throw new TargetError(message, { class: known[1], ...(status !== undefined && { status }) });
  }
}

import { TargetError, type ErrorClass } from '../contract/errors.ts';
import type { HttpRequest, HttpResponse } from '../http/http.ts';

/** What the API server says where it refuses. */
interface Status {
  readonly message?: string;
  readonly reason?: string;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly field?: string }[] };
}

/** A request as messages name it. */
export interface Named {
  readonly method: HttpRequest['method'];
  readonly address: string;
  /** Without the query. */
  readonly path: string;
}

/**
 * A refusal in the API server's own words.
 * @param ambiguous whether it may have been carried out all the same.
 */
export function refusal(request: Named, response: HttpResponse, ambiguous = false): TargetError {
  const status = statusOf(response.text);
  const words =
    isOfSecret(request.path) && response.status < 500 ? outlineOf(status, response) : wordsOf(status, response);
  return new TargetError(`${nameOf(request)}: ${words}${isOfRights(response, words) ? ADVICE : ''}`, {
    class: classOf(response.status, status),
    status: response.status,
    ambiguous,
  });
}

const ADVICE = '; give the operator that right (RBAC, see manifests/install)';

/** It names the verb and the resource. An admission that forbids something says so in other words. */
function isOfRights({ status }: HttpResponse, words: string): boolean {
  return status === 403 && / is forbidden: User .* cannot /.test(words);
}

/** Something answered that is no API server, or only half of an answer came. */
export function unreadable(request: Named, response: HttpResponse, ambiguous = false): TargetError {
  const what = `status ${String(response.status)} with what is no JSON: is that a Kubernetes API server?`;
  return new TargetError(`${nameOf(request)}: ${what}`, { class: 'transient', status: response.status, ambiguous });
}

function nameOf({ method, address, path }: Named): string {
  return `${method} ${address}${path}`;
}

function classOf(status: number, { details }: Status): ErrorClass {
  const isEnding = details?.causes?.some(({ reason }) => reason === 'NamespaceTerminating') ?? false;
  if (status === 404 || isEnding) return 'dependency';
  if (status === 401 || status === 403) return 'denied';
  if (status === 409 || status === 410 || status === 429 || status >= 500) return 'transient';
  return 'terminal';
}

function statusOf(text: string): Status {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

function wordsOf(status: Status, { status: code, text }: HttpResponse): string {
  if (status.message) return status.message;
  const isPage = text.includes('<');
  return `status ${String(code)} ${isPage ? '' : text.trim().slice(0, 200)}`.trim();
}

/** `/api/v1/namespaces/NS/secrets` and what lies below. */
function isOfSecret(path: string): boolean {
  return /^\/api\/v1\/(namespaces\/[^/]+\/)?secrets(\/|$)/.test(path);
}

/** The words of 400 and 422 may quote what was sent. */
function outlineOf(status: Status, response: HttpResponse): string {
  if (response.status !== 400 && response.status !== 422) return wordsOf(status, response);
  const fields = (status.details?.causes ?? []).flatMap(({ field }) => field ?? []);
  return `status ${String(response.status)} ${[status.reason ?? '', ...fields].join(' ')}`.trim();
}

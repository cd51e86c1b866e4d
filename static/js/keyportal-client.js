/**
 * Calls a keyportal from a web page, with a publishable key. No dependencies, no build step:
 *
 *     import { KeyportalClient } from 'https://keys.example.com/static/js/keyportal-client.js';
 *     const client = new KeyportalClient({ key: 'kp_pk_live_…', url: 'https://keys.example.com' });
 *     const { project_id } = await client.whoami();
 *
 * Everything in a page can be read by whoever opens it. So this takes publishable keys and nothing else.
 */

const LONGEST_KEY = 128;
// What follows the prefix: an environment perhaps, then what is random, in one part or two. No other word may stand
// there, since it could say that the key is a secret one, where the prefix was given too short.
const REST = /^(?:(?:live|test)[_-])?(?:[0-9A-Za-z]{8,16}[_-])?[0-9A-Za-z]{28,}$/;
const NOT_PUBLISHABLE =
  "This is not a publishable key, and only those may be in a web page. Issue one on the page of your project, under " +
  "SDK keys, and use that. If the key given here is a secret key and was in a page that others can open, revoke it.";

/** A call that was refused, or never answered. `message` is the sentence that says why; it never holds the key. */
export class KeyportalError extends Error {
  /**
   * @param {string} message
   * @param {object} facts
   * @param {string} facts.code Stable: a code of the portal's reference, or `network_error`, `timeout` or
   *   `unexpected_answer`. A browser tells a page no more than `network_error` where the key does not allow its origin.
   * @param {number} [facts.status] The HTTP status; 0 if there was no answer.
   * @param {string} [facts.detail] What to do about it.
   * @param {string} [facts.requestId] What to tell the operator of the portal.
   * @param {?number} [facts.retryAfter] Seconds to wait before the next try, if the portal said so.
   * @param {unknown} [facts.cause] The error underneath, if there is one.
   */
  constructor(message, { code, status = 0, detail = "", requestId = "", retryAfter = null, cause }) {
    super(message, { cause });
    this.name = "KeyportalError";
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** A client with one publishable key. */
export class KeyportalClient {
  #key;
  #url;
  #timeout;

  /**
   * @param {object} options
   * @param {string} options.key A publishable key. It has to allow the origin of the page.
   * @param {string} options.url Where the portal is, such as `https://keys.example.com`.
   * @param {string} [options.prefix] How publishable keys of that portal begin, where it is not `kp_pk_`.
   * @param {number} [options.timeout] Milliseconds after which a call is given up.
   * @throws {TypeError} If the key is no publishable key of a well-formed shape, or the address is none.
   */
  constructor({ key, url, prefix = "kp_pk_", timeout = 10_000 } = {}) {
    if (!isPublishable(key, prefix)) throw new TypeError(NOT_PUBLISHABLE);
    this.#key = key;
    this.#url = addressOf(url);
    this.#timeout = timeout;
  }

  /**
   * Say what the key is: its organization and project, its permissions and expiry.
   * @returns {Promise<object>} What `GET /v1/whoami` answers, as the portal's reference describes it.
   * @throws {KeyportalError}
   */
  whoami() {
    return this.#get("/v1/whoami");
  }

  async #get(path) {
    let response, text;
    try {
      response = await fetch(this.#url + path, {
        headers: { Accept: "application/json", Authorization: `Bearer ${this.#key}` },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(this.#timeout),
      });
      text = await response.text();
    } catch (cause) {
      throw unanswered(cause);
    }
    const body = parsed(text);
    if (response.ok && body) return body;
    throw refused(response, body);
  }
}

function isPublishable(key, prefix) {
  if (typeof key !== "string" || typeof prefix !== "string" || !prefix) return false;
  return key.length <= LONGEST_KEY && key.startsWith(prefix) && REST.test(key.slice(prefix.length));
}

function addressOf(url) {
  let found;
  try {
    found = new URL(url);
  } catch {
    found = null;
  }
  const isAddress = found && ["https:", "http:"].includes(found.protocol) && !found.username && !found.password;
  if (!isAddress) throw new TypeError("url is where the portal is, such as https://keys.example.com");
  return found.origin + found.pathname.replace(/\/+$/, "");
}

function parsed(text) {
  try {
    const body = JSON.parse(text);
    return body && typeof body === "object" ? body : null;
  } catch {
    return null;
  }
}

function unanswered(cause) {
  if (cause?.name === "TimeoutError") {
    return new KeyportalError("The portal did not answer in time.", { code: "timeout", cause });
  }
  const message = "The portal could not be reached, or the key does not allow pages of this origin.";
  return new KeyportalError(message, { code: "network_error", cause });
}

function refused(response, body) {
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const facts = {
    status: response.status,
    requestId: response.headers.get("X-Request-Id") ?? "",
    retryAfter: Number.isNaN(wait) ? null : wait,
  };
  // RFC 9457, with the portal's own member `code`.
  if (response.ok || typeof body?.code !== "string") {
    return new KeyportalError("The portal sent something unexpected.", { ...facts, code: "unexpected_answer" });
  }
  return new KeyportalError(String(body.title), { ...facts, code: body.code, detail: String(body.detail ?? "") });
}

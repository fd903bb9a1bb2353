// @ts-check
import { message } from "./config.js";

/** @typedef {import("./tollgate.js").Step} Step */

/** The time limit for an admission. After that the object counts as unavailable. */
const ADMISSION_MS = 5_000;

/** Content codings that the runtime decodes. */
const DECODED = new Set(["gzip", "br"]);

const SETTLEMENT_PAUSES_MS = [100, 1_000, 5_000];

/** One request and its response. Carries out the steps of the exchange. */
export class FetchHandler {
  /**
   * @param {import("./tollgate.js").Exchange} exchange
   * @param {Request} request
   * @param {Env} env
   * @param {ExecutionContext} ctx
   */
  constructor(exchange, request, env, ctx) {
    this.exchange = exchange;
    this.request = request;
    this.env = env;
    this.ctx = ctx;
    this.id = crypto.randomUUID();
    this.organization = "";
    this.status = 0;
    /** @type {Uint8Array[]} */
    this.held = [];
    // Work continues until this is resolved, even if the client disconnects.
    /** @type {PromiseWithResolvers<void>} */
    this.over = Promise.withResolvers();
    ctx.waitUntil(this.over.promise);
    // Not the request's own signal, which does not abort a fetch.
    this.gone = new AbortController();
    if (request.signal.aborted) this.gone.abort(request.signal.reason);
    request.signal.addEventListener("abort", () => this.gone.abort(request.signal.reason));
  }

  /** @returns {Promise<Response>} */
  async answer() {
    try {
      const { method, headers, url, body } = this.request;
      const { host, pathname, search, protocol } = new URL(url);
      const fields = [":method", method, ":path", pathname + search, ":authority", host, ":scheme", protocol.slice(0, -1)];
      let step = this.exchange.head([...fields, ...[...headers].flat()], body === null, Date.now());
      if (step.do === "hold") step = await this.decideByBody();
      if (step.do === "admit") step = await this.admit(step);
      if (step.do === "forward") return await this.forward(step, pathname + search);
      if (step.do === "answer") return this.refuse(step);
      throw new Error(`unexpected step ${step.do}`);
    } catch (error) {
      console.error(`a request ends early: ${message(error)}`);
      this.status = 502;
      // A request that continues after its client disconnected is charged.
      if (!this.gone.signal.aborted) this.exchange.unanswered();
      await this.end(false);
      return new Response(null, { status: this.status });
    }
  }

  /** @returns {Promise<Step>} */
  async decideByBody() {
    for await (const bytes of this.request.body ?? []) {
      this.held.push(bytes);
      const step = this.exchange.body(bytes, false, Date.now());
      if (step.do !== "hold") return step;
    }
    return this.exchange.body(new Uint8Array(), true, Date.now());
  }

  /**
   * @param {Extract<Step, { do: "admit" }>} step
   * @returns {Promise<Step>}
   */
  async admit({ organization, charges }) {
    this.organization = organization;
    try {
      const admission = this.object().admit(this.id, charges, Date.now() + ADMISSION_MS);
      return this.exchange.admitted(await within(ADMISSION_MS, admission));
    } catch (error) {
      console.error(`limits cannot be checked: ${message(error)}`);
      // It may have been charged even so.
      const id = this.id;
      this.id = "";
      this.ctx.waitUntil(this.persist(() => this.object().release(id)));
      return this.exchange.unavailable();
    }
  }

  /** @param {Extract<Step, { do: "answer" }>} step */
  refuse({ status, fields, body }) {
    this.status = status;
    const headers = new Headers(fields);
    // Whatever of the body is still to come is not wanted.
    this.request.body?.cancel().catch(() => {});
    this.end(true);
    return new Response(body, { status, headers });
  }

  /**
   * @param {Extract<Step, { do: "forward" }>} step
   * @param {string} path
   */
  async forward({ edits, splice }, path) {
    const headers = new Headers(this.request.headers);
    for (const { name, value } of edits) {
      if (name === ":path") path = value ?? path;
      else edit(headers, name, value);
    }
    for (const [name, value] of credentials(this.env.UPSTREAM_HEADERS)) headers.set(name, value);
    const body = this.held.length > 0 ? spliced(joined(this.held), splice) : this.request.body;
    this.held = [];
    const upstream = new URL(this.env.UPSTREAM || "https://api.openai.com").origin;
    const { method } = this.request;
    const { signal } = this.gone;
    return this.passBack(await fetch(upstream + path, { method, headers, body, redirect: "manual", signal }));
  }

  /** @param {Response} answer */
  passBack(answer) {
    this.status = answer.status;
    const headers = new Headers(answer.headers);
    // The runtime requests these encodings itself and decodes what is read here. The decoded response is
    // passed on, so that its usage can be read.
    if (answer.body !== null && DECODED.has(headers.get("content-encoding")?.toLowerCase() ?? "")) {
      headers.delete("content-encoding");
      headers.delete("content-length");
    }
    const edits = this.exchange.answerHead([":status", String(answer.status), ...[...headers].flat()]);
    for (const { name, value } of edits) edit(headers, name, value);
    const head = { status: answer.status, statusText: answer.statusText, headers };
    if (answer.webSocket || answer.body === null) {
      const response = new Response(null, { ...head, webSocket: answer.webSocket });
      this.end(true);
      return response;
    }
    const { readable, writable } = bodyStream(headers);
    const response = new Response(readable, head);
    this.stream(answer.body.getReader(), writable.getWriter());
    return response;
  }

  /**
   * @param {ReadableStreamDefaultReader<Uint8Array>} from
   * @param {WritableStreamDefaultWriter<Uint8Array>} to
   */
  async stream(from, to) {
    let complete = false;
    let gone = false;
    // Detects a client that disconnects while the upstream is silent.
    to.closed.catch((error) => {
      gone = true;
      return from.cancel(error);
    }).catch(() => {});
    try {
      for (let last = false; !last; ) {
        const { done, value } = await from.read();
        last = done;
        const bytes = this.exchange.answerBody(value ?? new Uint8Array(), last);
        if (bytes.length > 0) await to.write(bytes);
      }
      await to.close();
      complete = !gone;
    } catch (error) {
      await Promise.allSettled([to.abort(error), from.cancel(error)]);
    } finally {
      await this.end(complete);
    }
  }

  /**
   * Ends the exchange once: settles it and writes its log line.
   *
   * @param {boolean} complete
   */
  async end(complete) {
    const settlement = this.exchange.end(complete);
    console.log(JSON.stringify({ status: this.status, ...Object.fromEntries(this.exchange.facts()) }));
    this.exchange.free();
    if (settlement && this.id && this.organization) {
      await this.persist(() => this.object().settle(this.id, settlement));
    }
    this.over.resolve();
  }

  /**
   * Retries a call to the object. If it never succeeds, the reservation is settled at its deadline.
   *
   * @param {() => Promise<unknown>} call
   */
  async persist(call) {
    for (const pause of [...SETTLEMENT_PAUSES_MS, undefined]) {
      try {
        await call();
        return;
      } catch (error) {
        console.error(`a reservation is not settled yet: ${message(error)}`);
        if (pause !== undefined) await scheduler.wait(pause);
      }
    }
  }

  object() {
    const objects = this.env.ORGANIZATIONS;
    return objects.get(objects.idFromName(this.organization));
  }
}

/**
 * Creates a stream for the response's body. The runtime's own streams always detect that their reader has disconnected; a
 * TransformStream may wait for it for ever.
 *
 * An announced length is kept, so that the client detects a cut by the upstream: chunks would end as if complete.
 *
 * @param {Headers} headers
 */
function bodyStream(headers) {
  const length = headers.get("content-length");
  return length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
}

/**
 * Awaits a promise with a time limit.
 *
 * @template T
 * @param {number} milliseconds
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
async function within(milliseconds, promise) {
  /** @type {PromiseWithResolvers<never>} */
  const late = Promise.withResolvers();
  const timer = setTimeout(() => late.reject(new Error("the object does not answer")), milliseconds);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {Headers} headers @param {string} name @param {string | undefined} value */
function edit(headers, name, value) {
  if (value === undefined) headers.delete(name);
  else headers.set(name, value);
}

/**
 * Parses lines `name: value`. The log has the number of an invalid line, never its text, which may be a secret.
 *
 * @param {string | null | undefined} lines
 * @returns {[string, string][]}
 */
function credentials(lines) {
  return (lines ?? "").split("\n").flatMap((line, at) => {
    if (line.trim() === "") return [];
    const colon = line.indexOf(":");
    if (colon > 0) return [/** @type {[string, string]} */ ([line.slice(0, colon).trim(), line.slice(colon + 1).trim()])];
    console.error(`UPSTREAM_HEADERS: line ${at + 1} is ignored, it is not \`name: value\``);
    return [];
  });
}

/** @param {Uint8Array[]} pieces */
function joined(pieces) {
  const whole = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** @param {Uint8Array} body @param {import("./tollgate.js").Splice | undefined} splice */
function spliced(body, splice) {
  if (splice === undefined) return body;
  return joined([body.subarray(0, splice.start), new TextEncoder().encode(splice.put), body.subarray(splice.end)]);
}

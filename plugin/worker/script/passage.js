// @ts-check
import { message } from "./configuration.js";

/** @typedef {import("./tollgate.js").Step} Step */

/** How long the object may take to admit a request. After that it counts as one that cannot be asked. */
const ADMISSION_MS = 5_000;

/** Content codings that the runtime takes off a body. */
const DECODED = new Set(["gzip", "br"]);

const SETTLEMENT_PAUSES_MS = [100, 1_000, 5_000];

/** One request on its way through, and its answer back. It carries out what the exchange says. */
export class Passage {
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
    // A client that leaves does not end what runs before this is resolved.
    /** @type {PromiseWithResolvers<void>} */
    this.over = Promise.withResolvers();
    ctx.waitUntil(this.over.promise);
    // Not the request's own signal: a fetch that is given that one does not end by it.
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
      throw new Error(`nothing can be done after ${step.do}`);
    } catch (error) {
      console.error(`a request ends early: ${message(error)}`);
      this.status = 502;
      // What goes on without a client that has left is charged.
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
      // It may have been charged all the same.
      const id = this.id;
      this.id = "";
      this.ctx.waitUntil(this.persist(() => this.object().takeBack(id)));
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
    // The runtime asks for these by itself, and decodes what is read here: so it goes on, and its usage is seen.
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
    const { readable, writable } = passage(headers);
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
    // Who leaves while the upstream is silent is noticed here.
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
   * The end of the exchange, once: its settlement, and its line in the log.
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
   * Tries a call to the object again. Where it never succeeds, the reservation stands at its deadline.
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
 * A way for the answer's body. The runtime's own streams always notice that their reader has left; a TransformStream
 * may wait for it for ever.
 *
 * An announced length stays one, so that the client sees where an upstream cuts it: chunks end for it as if all were well.
 *
 * @param {Headers} headers
 */
function passage(headers) {
  const length = headers.get("content-length");
  return length === null ? new IdentityTransformStream() : new FixedLengthStream(Number(length));
}

/**
 * What a promise resolves to, unless that takes too long.
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
 * Lines `name: value`. Of a line that is none the log says which it is, and never what: it may be a secret.
 *
 * @param {string | null | undefined} lines
 * @returns {[string, string][]}
 */
function credentials(lines) {
  return (lines ?? "").split("\n").flatMap((line, at) => {
    if (line.trim() === "") return [];
    const colon = line.indexOf(":");
    if (colon > 0) return [/** @type {[string, string]} */ ([line.slice(0, colon).trim(), line.slice(colon + 1).trim()])];
    console.error(`UPSTREAM_HEADERS: line ${at + 1} is not sent, it is no \`name: value\``);
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

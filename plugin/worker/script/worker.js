// @ts-check
import { configuration } from "./config.js";
import { FetchHandler } from "./fetch_handler.js";

export { Organization } from "./durable_object.js";

export default {
  /** @param {Request} request @param {Env} env @param {ExecutionContext} ctx */
  async fetch(request, env, ctx) {
    const gateway = await configuration(env);
    if (gateway === undefined) return new Response(null, { status: 503 });
    return new FetchHandler(gateway.exchange(), request, env, ctx).answer();
  },
};

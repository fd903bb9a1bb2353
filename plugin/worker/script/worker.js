// @ts-check
import { configuration } from "./configuration.js";
import { Passage } from "./passage.js";

export { Organization } from "./organization.js";

export default {
  /** @param {Request} request @param {Env} env @param {ExecutionContext} ctx */
  async fetch(request, env, ctx) {
    const gateway = await configuration(env);
    if (gateway === undefined) return new Response(null, { status: 503 });
    return new Passage(gateway.exchange(), request, env, ctx).answer();
  },
};

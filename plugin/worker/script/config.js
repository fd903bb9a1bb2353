// @ts-check
import { Gateway } from "./core.js";

/** The name of the gateway configuration in its KV namespace. */
const NAME = "configuration.json";

/** The time after which a configuration is read again. KV's own cache adds to it. */
const LOOK_AFTER_MS = 5_000;

/** @type {{ text: string, gateway: Gateway } | undefined} */
let inForce;
let lookedAt = -Infinity;

/**
 * Returns the current configuration. One that cannot be read, or has an error, never replaces a valid one.
 *
 * @param {Env} env
 * @returns {Promise<Gateway | undefined>} undefined, if there has been no valid one
 */
export async function configuration(env) {
  const now = Date.now();
  if (inForce === undefined || now - lookedAt >= LOOK_AFTER_MS) {
    lookedAt = now;
    try {
      take(await read(env.CONFIGURATION));
    } catch (error) {
      console.error(`the configuration is rejected, the previous one stays: ${message(error)}`);
    }
  }
  return inForce?.gateway;
}

/** @param {Env["CONFIGURATION"]} binding */
async function read(binding) {
  const text = typeof binding === "string" ? binding : await binding?.get(NAME);
  if (!text) throw new Error(`the binding CONFIGURATION has no ${NAME}`);
  return text;
}

/** @param {string} text */
function take(text) {
  if (text === inForce?.text) return;
  const gateway = new Gateway(text);
  for (const warning of gateway.warnings) console.warn(warning);
  // Exchanges in progress keep their own reference.
  inForce?.gateway.free();
  inForce = { text, gateway };
}

/** @param {unknown} error */
export function message(error) {
  return error instanceof Error ? error.message : String(error);
}

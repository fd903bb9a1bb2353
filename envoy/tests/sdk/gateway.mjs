// The common parts of the tests of JavaScript SDKs: the gateway's address, the keys and models, and the checks.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const OPTIONS = ['base-url', 'key', 'expired-key', 'budget-key', 'limited-key', 'busy-key', 'day-key'];

const { values } = parseArgs({ options: Object.fromEntries(OPTIONS.map((name) => [name, { type: 'string' }])) });
for (const name of OPTIONS) {
  if (values[name] === undefined) throw new Error(`--${name} is missing`);
}

/** The gateway, without a path. */
export const GATEWAY = values['base-url'];
/** A key that may call all models below but the forbidden one. */
export const KEY = values.key;
export const EXPIRED_KEY = values['expired-key'];
/** The key of a team whose budget is less than the price of any call. */
export const BUDGET_KEY = values['budget-key'];
/** The key of a team with one request per day, already used. */
export const DAY_KEY = values['day-key'];
/** The key of a team with 10,000 tokens per minute. */
export const BUSY_KEY = values['busy-key'];

/** About 300 KB that look like a picture in base64. */
export const PICTURE = Buffer.alloc(225_000, 'picture').toString('base64');
/** Headers that select a behavior of the simulated provider. */
export const simulate = (behavior) => ({ headers: { 'x-simulate': behavior } });

/** Prints one line for a check that passes; the first one that fails ends the run. */
export function check(name, condition, seen) {
  if (!condition) {
    console.error(`FAILED ${name}: ${seen instanceof Error ? seen.stack : JSON.stringify(seen)?.slice(0, 2000)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

/** Returns the error of a call that must fail with this status and code. */
export async function refused(name, status, code, call, read) {
  const error = await call().then((answer) => check(`${name}: refused`, false, answer), (error) => error);
  const seen = read(error);
  check(`${name}: status ${status}`, seen.status === status, { seen, error: String(error?.stack ?? error) });
  check(`${name}: code ${code}`, JSON.stringify(seen.body).includes(code), seen.body);
  return error;
}

/**
 * Checks that the SDK itself repeats a call that is refused while another one holds the team's tokens: a stream of
 * four seconds, which reserves all of them and uses few. `call(retries)` calls with the key BUSY_KEY and this number
 * of retries.
 */
export async function repeats(name, call, read) {
  const body = { model: 'gpt-5-mini', stream: true, max_tokens: 9930, messages: [{ role: 'user', content: 'Hello.' }] };
  const headers = { authorization: `Bearer ${BUSY_KEY}`, 'content-type': 'application/json', 'x-simulate': 'tokens=25, chunk-ms=150' };
  const held = await fetch(`${GATEWAY}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(body) });
  check(`${name}: a call in flight`, held.status === 200, held.status);
  await refused(`${name}: without a retry`, 429, 'team_tpm_exceeded', () => call(0), read);
  const start = Date.now();
  await call(8);
  const waited = Date.now() - start;
  check(`${name}: the SDK waits and succeeds`, waited > 500 && waited < 20_000, waited);
  await held.text();
}

/** Checks that a call fails, as a stream does whose connection breaks. */
export async function breaks(name, call) {
  const error = await call().then(() => undefined, (error) => error);
  check(name, error instanceof Error, 'complete');
}

/** Checks that the SDK does not repeat a call that cannot be admitted for hours. */
export async function givesUp(name, call, read) {
  const start = Date.now();
  const error = await refused(name, 429, 'team_rpd_exceeded', () => call(3), read);
  check(`${name}: at once`, Date.now() - start < 2000, Date.now() - start);
  return error;
}

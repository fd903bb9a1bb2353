// The common parts of the tests of JavaScript SDKs: the gateway's address, the keys and models, and the checks.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const OPTIONS = ['base-url', 'key', 'expired-key', 'budget-key', 'limited-key', 'minute-key', 'day-key', 'used'];

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
/** The key of a team with one request per minute, which was used at the time `--used` (seconds since 1970). */
export const MINUTE_KEY = values['minute-key'];

/** The default routes that are being added. */
export const ROUTES = process.env.ROUTES === '1';

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
 * Checks that the SDK itself repeats a call: 57 seconds after the minute's only request the wait is at most four
 * seconds. `call(retries)` calls with the key MINUTE_KEY and this number of retries.
 */
export async function repeats(name, call, read) {
  let used = Number(values.used) * 1000;
  if (Date.now() > used + 57_500) {
    await call(0);
    used = Date.now();
  }
  await sleep(Math.max(used + 57_500 - Date.now(), 0));
  await refused(`${name}: without a retry`, 429, 'team_rpm_exceeded', () => call(0), read);
  const start = Date.now();
  await call(4);
  const waited = Date.now() - start;
  check(`${name}: the SDK waits and succeeds`, waited > 500 && waited < 20_000, waited);
}

/** Checks that the SDK does not repeat a call that cannot be admitted for hours. */
export async function givesUp(name, call, read) {
  const start = Date.now();
  const error = await refused(name, 429, 'team_rpd_exceeded', () => call(3), read);
  check(`${name}: at once`, Date.now() - start < 1000, Date.now() - start);
  return error;
}

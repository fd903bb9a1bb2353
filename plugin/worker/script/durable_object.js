// @ts-check
import { DurableObject } from "cloudflare:workers";
import { admit, settle, settleOrphan, release } from "./core.js";
import { message } from "./config.js";

/** The default of RESERVATION_SECONDS, the time that a reservation waits for its settlement: longer than any stream. */
const RESERVATION_SECONDS = 3_600;

/**
 * The counters of one organization, and its open reservations.
 *
 * Every method is one synchronous transaction, which is applied as a whole or not at all.
 *
 * @extends {DurableObject<Env>}
 */
export class Organization extends DurableObject {
  /** @param {DurableObjectState} ctx @param {Env} env */
  constructor(ctx, env) {
    super(ctx, env);
    const sql = ctx.storage.sql;
    sql.exec("CREATE TABLE IF NOT EXISTS cells (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID");
    sql.exec("CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, deadline INTEGER NOT NULL, reserved BLOB NOT NULL)");
    sql.exec("CREATE INDEX IF NOT EXISTS reservations_by_deadline ON reservations (deadline)");
    this.sql = sql;
    this.lifetime = 1_000 * (Number(env.RESERVATION_SECONDS) || RESERVATION_SECONDS);
    /** @type {import("./tollgate.js").Store} */
    this.cells = {
      read: (name) => bytes(sql.exec("SELECT record FROM cells WHERE name = ?", name).toArray()[0]?.record),
      write: (name, record) => {
        sql.exec("INSERT INTO cells VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET record = excluded.record", name, record);
      },
    };
    // The process may have stopped between a reservation and its alarm.
    ctx.blockConcurrencyWhile(() => this.wake());
  }

  /**
   * Charges a request to all of its principals, or to none.
   *
   * @param {string} id of the reservation, if there is one to settle
   * @param {Uint8Array} charges
   * @param {number} until the caller's deadline: after it the caller may have released the reservation already
   * @returns {Promise<Uint8Array>} for `Exchange.admitted`
   */
  async admit(id, charges, until) {
    const now = Date.now();
    if (now > until) throw new Error("the caller has timed out");
    const admission = this.ctx.storage.transactionSync(() => {
      const admission = admit(this.cells, charges, now);
      if (admission.reserved) {
        this.sql.exec("INSERT INTO reservations VALUES (?, ?, ?)", id, now + this.lifetime, admission.reserved);
      }
      return admission;
    });
    if (admission.reserved && !this.awake) await this.wake();
    return admission.outcome;
  }

  /**
   * Settles a reservation to the actual usage. One that is settled already is left unchanged.
   *
   * @param {string} id
   * @param {Uint8Array} actual
   */
  async settle(id, actual) {
    this.close(id, (reserved) => settle(this.cells, reserved, actual));
  }

  /**
   * Releases the reservation of a request that was not forwarded.
   *
   * @param {string} id
   */
  async release(id) {
    this.close(id, (reserved) => release(this.cells, reserved));
  }

  /**
   * Settles reservations past their deadline at their full amount.
   *
   * @override
   */
  async alarm() {
    this.awake = false;
    const over = this.sql.exec("SELECT id FROM reservations WHERE deadline <= ?", Date.now()).toArray();
    for (const { id } of over) {
      try {
        this.close(String(id), (reserved) => settleOrphan(this.cells, reserved));
      } catch (error) {
        // Another build's reservation stays charged in full.
        console.error(`a reservation stays as charged: ${message(error)}`);
        this.sql.exec("DELETE FROM reservations WHERE id = ?", id);
      }
    }
    if (over.length > 0) console.warn(`${over.length} reservations were never settled and stay charged as estimated`);
    await this.wake();
  }

  /** @param {string} id @param {(reserved: Uint8Array) => void} correct */
  close(id, correct) {
    this.ctx.storage.transactionSync(() => {
      const [row] = this.sql.exec("DELETE FROM reservations WHERE id = ? RETURNING reserved", id).toArray();
      const reserved = bytes(row?.reserved);
      if (reserved) correct(reserved);
    });
  }

  /** Sets the alarm for the first deadline. Later reservations have later ones. */
  async wake() {
    const [first] = this.sql.exec("SELECT min(deadline) AS deadline FROM reservations").toArray();
    if (typeof first?.deadline !== "number") return;
    this.awake = true;
    await this.ctx.storage.setAlarm(first.deadline);
  }
}

/** @param {SqlStorageValue | undefined} blob */
function bytes(blob) {
  return blob instanceof ArrayBuffer ? new Uint8Array(blob) : undefined;
}

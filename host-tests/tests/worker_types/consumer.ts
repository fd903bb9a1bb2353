// What somebody writes who has the module's package, and no script of ours.
import { Gateway, initSync, admit, settle, settleOrphan, release } from "./tollgate.js";
import type { Admission, Edit, Exchange, Splice, Step, Store } from "./tollgate.js";

export function decide(module: WebAssembly.Module, configuration: string, body: Uint8Array, store: Store): Response | Edit[] {
  initSync({ module });
  const gateway = new Gateway(configuration);
  const warnings: string[] = gateway.warnings;
  const exchange: Exchange = gateway.exchange();
  const steps: Step[] = [exchange.head([":method", "POST", ...warnings], false, Date.now()), exchange.body(body, true, Date.now())];
  const edits: Edit[] = steps.flatMap((step) => carryOut(step, exchange, store));
  const used: Uint8Array | undefined = exchange.end(true);
  const facts: Map<string, string> = new Map(exchange.facts());
  return used && facts.size > 0 ? edits : new Response(exchange.answerBody(body, true));
}

function carryOut(step: Step, exchange: Exchange, store: Store): Edit[] {
  switch (step.do) {
    case "hold":
      return [];
    case "admit": {
      const admission: Admission = admit(store, step.charges, Date.now());
      if (admission.reserved) {
        settle(store, admission.reserved, admission.outcome);
        settleOrphan(store, admission.reserved);
        release(store, admission.reserved);
      }
      return carryOut(exchange.admitted(admission.outcome), exchange, store);
    }
    case "forward": {
      const splice: Splice | undefined = step.splice;
      return splice ? [...step.edits, { name: String(splice.start + splice.end), value: splice.put }] : step.edits;
    }
    case "answer":
      new Response(step.body, { status: step.status, headers: step.fields });
      return exchange.answerHead([":status", "200"]);
    default:
      // Every step there is has its case.
      return step satisfies never;
  }
}

export function mistakes(gateway: Gateway, exchange: Exchange, step: Step) {
  // @ts-expect-error: a configuration is text
  new Gateway({ policy: {} });
  // @ts-expect-error: an exchange comes from its gateway
  new (exchange.constructor as typeof Exchange)();
  // @ts-expect-error: fields are names and values in turn
  exchange.head([[":method", "POST"]], true, 0);
  // @ts-expect-error: the time is a number
  exchange.body(new Uint8Array(), true, new Date());
  // @ts-expect-error: only a step that admits has charges
  step.charges;
  // @ts-expect-error: there may be none
  exchange.end(true).length;
  // @ts-expect-error: no such member
  gateway.reload();
  // @ts-expect-error: a store reads and writes
  release({ read: () => undefined }, new Uint8Array());
}

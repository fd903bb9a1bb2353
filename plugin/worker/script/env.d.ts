/** What the worker is bound to. */
interface Env {
  /** One object for each organization. */
  ORGANIZATIONS: DurableObjectNamespace<import("./durable_object.js").Organization>;
  /** A gateway configuration, or the namespace that has it under `configuration.json`. */
  CONFIGURATION: KVNamespace | string;
  /** Where allowed requests go: an origin. */
  UPSTREAM?: string | null;
  /** A secret: lines `name: value`, put in after the decision, such as the upstream's own credential. */
  UPSTREAM_HEADERS?: string | null;
  /** How long a reservation waits for its settlement. */
  RESERVATION_SECONDS?: string | null;
}

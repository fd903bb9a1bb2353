# For workerd, in this folder:  UPSTREAM=https://api.openai.com workerd serve config.capnp
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "tollgate", worker = .tollgate),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    # A folder as a KV namespace: the worker reloads policy/configuration.json after a change.
    (name = "policy", disk = "policy"),
    (name = "storage", disk = (path = "storage", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "tollgate")],
);

const tollgate :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "worker.js"),
    (name = "fetch_handler.js", esModule = embed "fetch_handler.js"),
    (name = "config.js", esModule = embed "config.js"),
    (name = "durable_object.js", esModule = embed "durable_object.js"),
    (name = "core.js", esModule = embed "core.js"),
    (name = "tollgate.js", esModule = embed "tollgate.js"),
    (name = "tollgate_bg.wasm", wasm = embed "tollgate_bg.wasm"),
  ],
  compatibilityDate = "2026-04-01",
  # A client that disconnects ends the call to the upstream.
  compatibilityFlags = ["enable_request_signal"],
  bindings = [
    (name = "ORGANIZATIONS", durableObjectNamespace = "Organization"),
    (name = "CONFIGURATION", kvNamespace = "policy"),
    (name = "UPSTREAM", fromEnvironment = "UPSTREAM"),
    (name = "UPSTREAM_HEADERS", fromEnvironment = "UPSTREAM_HEADERS"),
    (name = "RESERVATION_SECONDS", fromEnvironment = "RESERVATION_SECONDS"),
  ],
  durableObjectNamespaces = [(className = "Organization", uniqueKey = "tollgate-organizations", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
);

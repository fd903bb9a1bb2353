// The module, started once per isolate: the worker's and each object's.
import { initSync } from "./tollgate.js";
import module from "./tollgate_bg.wasm";

initSync({ module });

export * from "./tollgate.js";

//! The configuration of a worker.

use std::rc::Rc;

use tollgate_core::config::ConfigLoader;
use tollgate_core::policy::Diagnostic;
use wasm_bindgen::prelude::*;

use crate::exchange::Exchange;

/// In the format of a finding.
const NO_FLEET: &str =
    "error /fleet: a worker does not support a fleet, its policy comes from its binding: remove it";

/// A configuration, shared by all exchanges that begin with it.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Gateway {
    gateway: Rc<tollgate_core::config::GatewayConfig>,
    warnings: Vec<String>,
}

#[wasm_bindgen]
impl Gateway {
    /// Reads a gateway configuration (JSON, with the policy inside).
    ///
    /// # Errors
    /// Throws if it has an error, or a fleet; the message has a line for each finding.
    #[wasm_bindgen(constructor)]
    pub fn new(configuration: &str) -> Result<Gateway, JsError> {
        let mut loader = ConfigLoader::default();
        loader.push(configuration.as_bytes());
        match loader.finish() {
            // A fleet's policy must not be ignored: a key that is revoked there would stay valid here.
            Ok((gateway, _)) if gateway.etcd.is_some() => Err(JsError::new(NO_FLEET)),
            Ok((mut gateway, warnings)) => {
                // A worker's policy comes from its binding: changes through the management API could not be
                // stored.
                gateway.admin = None;
                Ok(Gateway {
                    gateway: Rc::new(gateway),
                    warnings: warnings.iter().map(Diagnostic::to_string).collect(),
                })
            }
            Err(findings) => {
                let lines: Vec<_> = findings.iter().map(Diagnostic::to_string).collect();
                Err(JsError::new(&lines.join("\n")))
            }
        }
    }

    /// Returns the warnings of the configuration.
    #[wasm_bindgen(getter)]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// Begins an exchange.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(Rc::clone(&self.gateway))
    }
}

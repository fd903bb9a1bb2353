//! A gateway's configuration, as a worker reads it.

use std::rc::Rc;

use tollgate_core::config::ConfigLoader;
use tollgate_core::policy::Diagnostic;
use wasm_bindgen::prelude::*;

use crate::exchange::Exchange;

/// As a finding is written.
const NO_FLEET: &str = "error /fleet: a worker asks no etcd, its policy is the one of its binding: leave it out, and bring changes there";

/// A configuration that holds for all exchanges which begin under it.
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
    /// Throws where it has an error, or a fleet; the message has a line for each finding.
    #[wasm_bindgen(constructor)]
    pub fn new(configuration: &str) -> Result<Gateway, JsError> {
        let mut loader = ConfigLoader::default();
        loader.push(configuration.as_bytes());
        match loader.finish() {
            // A fleet decides who may do what, and cannot be passed over: a key that is revoked there would go on here.
            Ok((gateway, _)) if gateway.etcd.is_some() => Err(JsError::new(NO_FLEET)),
            Ok((mut gateway, warnings)) => {
                // A worker's policy is the one of its binding: nobody here would keep what is changed.
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

    /// What is odd about the configuration, though it loads.
    #[wasm_bindgen(getter)]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// A request that has just begun.
    pub fn exchange(&self) -> Exchange {
        Exchange::new(Rc::clone(&self.gateway))
    }
}

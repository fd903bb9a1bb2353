//! The body of a rejection.

use alloc::string::String;

use super::{ErrorCode, Rejection};
use crate::api::Provider;
use crate::llm::dialect::{ErrorParts, error_body};

impl Rejection {
    /// Returns the body, in the shape that the provider's SDKs read.
    pub fn body(&self, provider: Provider) -> String {
        let ErrorCode { status, kind, code, param } = self.label();
        let message = self.message();
        let retry_after = self.retry_after().map(|(_, millis)| millis);
        let parts =
            ErrorParts { status, kind, code: &code, param: param.as_deref(), message: &message, retry_after };
        crate::json::out_of_line::shown(&error_body(provider, parts))
    }
}

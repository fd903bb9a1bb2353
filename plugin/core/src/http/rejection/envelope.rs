//! The body of a rejection.

use alloc::string::String;

use super::{ErrorCode, Rejection};
use crate::api::Api;
use crate::llm::dialect::{Dialect, ErrorParts};

impl Rejection {
    /// Returns the body, in the shape that the API's SDKs read.
    pub fn body(&self, api: Api) -> String {
        let ErrorCode { status, kind, code, param } = self.label();
        let message = self.message();
        let parts = ErrorParts { status, kind, code: &code, param: param.as_deref(), message: &message };
        crate::json::out_of_line::text(&(Dialect::of(api).error_body)(parts))
    }
}

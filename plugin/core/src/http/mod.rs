//! HTTP as the filter sees it: headers, framing, routes, and rejections in each API's shape.

pub mod answer_format;
pub mod framing;
pub mod headers;
pub mod local_response;
pub(crate) mod query;
pub mod rejection;
pub mod route;
pub(crate) mod spelling;

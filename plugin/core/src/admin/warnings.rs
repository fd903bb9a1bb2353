//! Warnings in the responses of writes: `"warnings": [{"code": ..., "detail": ...}]`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::Value;

use super::json_response;
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::{object, text};
use crate::policy::Section;

/// The code of the warning that a change ends with the process.
const ENDS_WITH_PROCESS: &str = "ends_with_process";

/// Maximum number of records that a warning names.
const MAX_NAMED: usize = 10;

/// Adds the warning that a restart brings back what was taken away from these records, if there are any.
pub(crate) fn ends_with_process(response: &mut LocalResponse, records: &[(Section, &str)]) {
    if records.is_empty() {
        return;
    }
    let named = records.iter().take(MAX_NAMED).map(|(section, id)| format!("{} `{id}`", section.singular()));
    let named: Vec<String> = named.collect();
    let more = match records.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let detail = format!(
        "The change holds until the gateway's process ends, under every policy that is loaded meanwhile. A restart brings back \
         what the policy of the configuration says of {}{more}. Change that policy as well, or configure a `fleet`.",
        named.join(", ")
    );
    add(response, ENDS_WITH_PROCESS, &detail);
}

/// Adds a warning to a response. One without a body gets one.
fn add(response: &mut LocalResponse, code: &str, detail: &str) {
    let warning = object!({ "code": code, "detail": detail });
    let mut body: Value = match response.body.as_str() {
        "" => {
            let LocalResponse { fields, .. } = json_response(200, &Value::Null);
            response.fields.retain(|(name, _)| fields.iter().all(|(known, _)| known != name));
            response.fields.extend(fields);
            response.status = 200;
            object!({})
        }
        body => serde_json::from_str(body).unwrap_or_default(),
    };
    if let Some(members) = body.as_object_mut()
        && let Some(warnings) =
            members.entry("warnings").or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
    {
        warnings.push(warning);
        response.body = text(&body);
    }
}

//! The JSON Schema of a policy document, derived from the definitions that read it.

use serde_json::{Map, Value as Json, json};

use crate::policy::load::records::*;
use crate::policy::load::value::{FromNode, Version};
use crate::policy::model::Unpriced;

/// Returns the schema of a policy document (draft 2020-12).
pub fn policy() -> Json {
    let mut schema = policy_fields();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".into(), "Tollgate policy".into());
    }
    schema
}

/// Returns the schema of a policy as a part of another document.
pub fn policy_fields() -> Json {
    let mut properties = Map::new();
    properties.insert("version".into(), Version::schema());
    let sections: [(&str, Json); 6] = [
        ("targets", TargetRecord::schema()),
        ("organizations", OrganizationRecord::schema()),
        ("teams", TeamRecord::schema()),
        ("users", UserRecord::schema()),
        ("service_accounts", ServiceAccountRecord::schema()),
        ("keys", KeyRecord::schema()),
    ];
    for (name, record) in sections {
        properties.insert(name.into(), json!({ "type": "object", "additionalProperties": record }));
    }
    properties.insert("unpriced".into(), Unpriced::schema());
    json!({
        "type": "object",
        "properties": properties,
        "required": ["version"],
        "additionalProperties": false,
    })
}

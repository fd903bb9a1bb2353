//! The JSON Schema of a policy document, derived from the definitions that read it.

use serde_json::{Map, Value as Json, json};

use crate::policy::change::Section;
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
    for section in Section::ALL {
        let record = match section {
            Section::Targets => TargetRecord::schema(),
            Section::Organizations => OrganizationRecord::schema(),
            Section::Teams => TeamRecord::schema(),
            Section::Users => UserRecord::schema(),
            Section::ServiceAccounts => ServiceAccountRecord::schema(),
            Section::Keys => KeyRecord::schema(),
        };
        let records = json!({ "type": "object", "additionalProperties": record });
        properties.insert(section.name().into(), records);
    }
    properties.insert("unpriced".into(), Unpriced::schema());
    json!({
        "type": "object",
        "properties": properties,
        "required": ["version"],
        "additionalProperties": false,
    })
}

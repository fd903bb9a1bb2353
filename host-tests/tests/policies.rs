//! The shipped policies, their schemas and the snippets of their README.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tollgate_core::{admin, config, policy};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn load_policy(text: &str) -> Result<policy::Policy, Vec<policy::Diagnostic>> {
    let mut loader = policy::PolicyLoader::default();
    loader.push(text.as_bytes());
    loader.finish().map(|(policy, _)| policy)
}

fn load_gateway(text: &str) -> Result<config::GatewayConfig, Vec<policy::Diagnostic>> {
    let mut loader = config::ConfigLoader::default();
    loader.push(text.as_bytes());
    loader.finish().map(|(gateway, _)| gateway)
}

#[test]
fn the_demo_policy_loads_and_has_every_key_of_its_table() {
    let policy = load_policy(&fs::read_to_string(folder().join("demo.json")).unwrap()).unwrap();
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let listed: Vec<&str> = readme.split('`').filter(|word| word.starts_with("sk-tg-demo")).collect();
    assert_eq!(listed.len(), policy.keys.iter().count());
    let now = tollgate_core::time::Timestamp(0);
    for key in listed {
        assert_eq!(
            tollgate_core::secret::api_key::key_format(key),
            tollgate_core::secret::api_key::KeyFormat::Native,
            "{key}"
        );
        let digest = tollgate_core::secret::api_key::digest(key.as_bytes());
        assert!(policy.key_by_digest(&digest, now).is_some(), "{key}");
    }
}

#[test]
fn the_company_policy_loads_without_a_warning_and_shows_every_field_and_choice() {
    let text = fs::read_to_string(folder().join("company.json")).unwrap();
    let mut loader = policy::PolicyLoader::default();
    loader.push(text.as_bytes());
    let (_, warnings) = loader.finish().unwrap();
    assert_eq!(warnings, []);
    let company: Value = serde_json::from_str(&text).unwrap();
    let mut parts = BTreeMap::from([("unpriced: \"allow\"".to_owned(), true)]);
    look(&policy::load::schema::policy(), &[&company], ["", ""], &mut parts);
    let missing: Vec<_> = parts.iter().filter(|(_, shown)| !**shown).map(|(part, _)| part).collect();
    assert!(parts.len() > 80 && missing.is_empty(), "{missing:?} of {parts:#?}");
}

/// Records for every field of a schema, by its last two names, and for every choice, by the last one, if one
/// of these values contains it.
fn look(schema: &Value, values: &[&Value], [above, name]: [&str; 2], parts: &mut BTreeMap<String, bool>) {
    if !name.is_empty() {
        *parts.entry(format!("{above}/{name}")).or_default() |= !values.is_empty();
    }
    for choice in schema["enum"].as_array().into_iter().flatten() {
        *parts.entry(format!("{name}: {choice}")).or_default() |= values.contains(&choice);
    }
    for (field, form) in schema["properties"].as_object().into_iter().flatten() {
        let values: Vec<&Value> = values.iter().filter_map(|value| value.get(field)).collect();
        look(form, &values, [name, field], parts);
    }
    let form = &schema["additionalProperties"];
    if form.is_object() {
        let members = values.iter().filter_map(|value| value.as_object()).flat_map(serde_json::Map::values);
        look(form, &members.collect::<Vec<_>>(), [name, name], parts);
    }
}

#[test]
fn every_snippet_of_the_readme_loads() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut seen = 0;
    for (kind, rest) in readme.split("```json ").skip(1).filter_map(|part| part.split_once('\n')) {
        let (text, _) = rest.split_once("```").unwrap();
        seen += 1;
        match kind {
            "policy" => drop(load_policy(text).unwrap()),
            "target" => {
                drop(load_policy(&format!(r#"{{"version": 1, "targets": {{"t": {text}}}}}"#)).unwrap())
            }
            "gateway" => drop(load_gateway(text).unwrap()),
            other => panic!("a snippet of an unknown kind: {other}"),
        }
    }
    assert_eq!(seen, 3);
}

/// Rewrite them with `TOLLGATE_WRITE_SCHEMAS=1 cargo test -p tollgate-host --test policies`.
#[test]
fn the_schemas_match_the_types() {
    for (name, schema) in [
        ("policy.schema.json", policy::load::schema::policy()),
        ("gateway.schema.json", config::schema()),
        ("management.openapi.json", admin::openapi::document()),
    ] {
        let path = folder().join(name);
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("TOLLGATE_WRITE_SCHEMAS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{name} is not current");
    }
}

#[test]
fn the_schema_and_the_reader_agree_on_the_shape_of_changed_documents() {
    let validator = jsonschema::validator_for(&policy::load::schema::policy()).unwrap();
    let demo: Value = serde_json::from_str(&fs::read_to_string(folder().join("demo.json")).unwrap()).unwrap();
    assert!(validator.is_valid(&demo));
    let changes: [(&str, Value); 12] = [
        ("/teams/search/limits/rpm", 0.into()),
        ("/teams/search/limits/rpm", "60".into()),
        ("/teams/search/limits/tpm", (-5).into()),
        ("/targets/gpt-5/price/input", 1.25.into()),
        ("/targets/gpt-5/price/input", "1.2345678".into()),
        ("/keys/demotrial/digest", "sha256:xyz".into()),
        ("/keys/demoexpired/state", "gone".into()),
        ("/keys/demosearch/owner", "alice".into()),
        ("/organizations/acme/members/bob", "boss".into()),
        ("/teams/trial/access/mode", "allow".into()),
        ("/version", 2.into()),
        ("/teams/search/self_service/enabled", "yes".into()),
    ];
    for (pointer, value) in changes {
        let mut changed = demo.clone();
        match changed.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                changed.pointer_mut(parent).unwrap()[name] = value.clone();
            }
        }
        let findings = load_policy(&changed.to_string()).map(drop).unwrap_err();
        assert!(!validator.is_valid(&changed), "the schema takes {value} at {pointer}");
        assert!(findings.iter().any(|finding| finding.pointer == pointer), "{pointer}: {findings:?}");
    }
}

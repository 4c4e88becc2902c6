//! The files say what the types say, and the examples of `PROTOCOL.md` are what the files say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{FAMILIES, json_schema, methods, openapi::openapi};
use crate::{Audience, ROUTES, limits};

const DOCUMENT: &str = include_str!("../../../../PROTOCOL.md");
const WRITE: &str = "POSTHOUSE_WRITE_SCHEMA";

fn crate_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn check_file(name: &str, schema: &Value) {
    let path = crate_dir().join("schema").join(name);
    let wanted = format!("{}\n", serde_json::to_string_pretty(schema).expect("JSON"));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &wanted).expect("written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let different = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    let line = different.unwrap_or_else(|| found.lines().count().min(wanted.lines().count())) + 1;
    assert!(
        found == wanted,
        "server/protocol/schema/{name} is not what the types say (first difference in line {line}); write it anew with \
         `{WRITE}=1 cargo test -p posthouse-protocol schema` and commit it"
    );
}

#[test]
fn the_json_schema_is_what_the_types_say() {
    check_file("posthouse.v1.json", &json_schema());
}

#[test]
fn the_openapi_document_is_what_the_types_say() {
    check_file("openapi.json", &openapi());
}

#[test]
fn the_openapi_document_has_every_route_that_programs_use() {
    let document = openapi();
    let paths = document["paths"].as_object().expect("paths");
    let described = paths.iter().flat_map(|(path, item)| {
        item.as_object().expect("an item").keys().map(|method| (method.to_uppercase(), path.clone()))
    });
    let mut described: Vec<_> = described.collect();
    let listed = ROUTES.iter().filter(|route| route.audience == Audience::Programs);
    let mut listed: Vec<_> = listed.map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    described.sort_unstable();
    listed.sort_unstable();
    assert_eq!(described, listed, "the document (left) against routes.rs (right)");
}

#[test]
fn every_family_of_methods_is_in_the_schema() {
    let families = std::fs::read_dir(crate_dir().join("src"))
        .expect("the sources")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .filter(|path| std::fs::read_to_string(path).expect("a source").contains("\nmethods! {"));
    assert_eq!(families.count(), FAMILIES.len(), "add the METHODS of the new family to FAMILIES in schema/mod.rs");
}

/// A validator of one definition or of one method's parameters.
fn validator(schema: &Value, part: &Value) -> Validator {
    let mut part = part.clone();
    part["$defs"] = schema["$defs"].clone();
    jsonschema::draft202012::new(&part).expect("a schema")
}

fn assert_valid(validator: &Validator, instance: &Value) {
    if let Err(error) = validator.validate(instance) {
        panic!("{instance}: {error} at {}", error.instance_path);
    }
}

#[test]
fn the_examples_of_the_document_are_what_the_schema_says() {
    let schema = json_schema();
    let request = validator(&schema, &json!({"$ref": "#/$defs/Request"}));
    let error = validator(&schema, &json!({"$ref": "#/$defs/ErrorAnswer"}));
    let event = validator(&schema, &json!({"$ref": "#/$defs/Push"}));
    let mut asked: HashMap<u64, String> = HashMap::new();
    let mut requests = 0;
    for line in DOCUMENT.lines() {
        let Some((side, frame)) = line.split_once(' ').filter(|(side, _)| matches!(*side, "→" | "←")) else {
            continue;
        };
        let frame: Value = serde_json::from_str(frame).expect("JSON");
        let id = frame["id"].as_u64();
        match (side, id) {
            ("→", Some(id)) => {
                let method = frame["method"].as_str().expect("a method").to_owned();
                if schema["x-methods"].get(&method).is_some() {
                    assert_valid(&request, &frame);
                    requests += 1;
                } else if let Some(admin) = schema["x-admin-methods"].get(&method) {
                    assert_valid(&validator(&schema, &admin["params"]), &frame["params"]);
                } else {
                    assert!(!request.is_valid(&frame), "{frame} names a method that is not there");
                }
                asked.insert(id, method);
            }
            (_, Some(id)) if frame.get("result").is_some() => {
                let method = asked[&id].as_str();
                let result = [&schema["x-methods"][method], &schema["x-admin-methods"][method]];
                let result = result.into_iter().find(|method| !method.is_null()).expect("a method");
                assert_valid(&validator(&schema, &result["result"]), &frame["result"]);
            }
            (_, Some(_)) => assert_valid(&error, &frame),
            (_, None) => assert_valid(&event, &frame),
        }
    }
    assert!(requests >= methods().count(), "each method has an example");
}

#[test]
fn what_is_out_of_bounds_is_out_of_the_schema() {
    let schema = json_schema();
    let request = validator(&schema, &json!({"$ref": "#/$defs/Request"}));
    let ask = |method: &str, params: Value| json!({"id": 1, "method": method, "params": params});
    let send = |id: &str, text: &str| {
        ask("send", json!({"conversation_id": 1, "client_msg_id": id, "body": {"type": "text", "text": text}}))
    };
    let long = "x".repeat(limits::TEXT_LEN_MAX);
    for good in [
        send("a", &long),
        ask("history", json!({"conversation_id": 1, "limit": limits::HISTORY_LIMIT_MAX})),
        ask("sync", json!({"cursor": "0", "limit": 1})),
        json!({"id": 1, "method": "ping"}),
    ] {
        assert_valid(&request, &good);
    }
    for bad in [
        send("a", ""),
        send("a", &(long + "x")),
        send("", "hi"),
        send("a\u{7}", "hi"),
        send(&"x".repeat(limits::CLIENT_MSG_ID_LEN_MAX + 1), "hi"),
        ask("send", json!({"conversation_id": 1, "client_msg_id": "a", "body": {"type": "text", "text": "a", "b": 1}})),
        ask("history", json!({"conversation_id": 1, "limit": limits::HISTORY_LIMIT_MAX + 1})),
        ask("history", json!({"conversation_id": limits::NUMBER_MAX + 1})),
        ask("history", json!({"conversation_id": -1})),
        ask("sync", json!({"cursor": "0", "limit": 0})),
        ask("sync", json!({"cursor": 0})),
        ask("sync", json!({"cursor": "0", "hostile": true})),
        ask("conversations.direct", json!({"username": "x".repeat(limits::USERNAME_CHARS_MAX + 1)})),
        json!({"id": 1, "method": "history"}),
        json!({"method": "ping"}),
        json!({"id": 1, "method": "fly"}),
    ] {
        assert!(!request.is_valid(&bad), "{bad:.200}");
    }
}

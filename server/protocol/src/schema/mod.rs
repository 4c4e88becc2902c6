//! JSON Schema and OpenAPI of the protocol, generated from the types.
//!
//! Exists in this crate's own tests only, so that no program carries it. The files in `schema/` are checked
//! against the types; `POSTHOUSE_WRITE_SCHEMA=1 cargo test -p posthouse-protocol schema` writes them anew.

mod openapi;
mod tests;
mod update;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{Cursor, ErrorBody, Method, Push, RequestId, admin, limits};

/// Every family of methods; a test finds one that is missing.
const FAMILIES: &[&[MethodSchema]] = &[
    crate::session::METHODS,
    crate::accounts::METHODS,
    crate::import::METHODS,
    crate::invites::METHODS,
    crate::devices::METHODS,
    crate::conversations::METHODS,
    crate::groups::METHODS,
    crate::messages::METHODS,
    crate::edits::METHODS,
    crate::receipts::METHODS,
    crate::preferences::METHODS,
    crate::typing::METHODS,
    crate::presence::METHODS,
];

/// The methods of the administration socket.
const ADMIN_METHODS: &[MethodSchema] = &[
    MethodSchema::of::<admin::AccountAdd>(&["Makes an account."]),
    MethodSchema::of::<admin::GroupEverybody>(&["Makes or completes the group that every account is in."]),
    MethodSchema::of::<admin::RetentionGet>(&["Says for how long the site keeps what was said."]),
    MethodSchema::of::<admin::RetentionSet>(&["Sets for how long the site keeps what was said."]),
    MethodSchema::of::<admin::CertificateGet>(&["Says which certificates the site shows."]),
    MethodSchema::of::<admin::CertificateInstall>(&["Shows a certificate of the owner's own from now on."]),
    MethodSchema::of::<admin::CertificateRemove>(&["Forgets the owner's own certificate."]),
];

/// What the schema says of a method.
pub struct MethodSchema {
    name: &'static str,
    doc: &'static [&'static str],
    params: fn(&mut SchemaGenerator) -> Schema,
    result: fn(&mut SchemaGenerator) -> Schema,
}

impl MethodSchema {
    /// Of `M`, which `doc` describes.
    pub const fn of<M: Method>(doc: &'static [&'static str]) -> Self
    where
        M::Params: JsonSchema,
        M::Result: JsonSchema,
    {
        let params = |generator: &mut SchemaGenerator| generator.subschema_for::<M::Params>();
        let result = |generator: &mut SchemaGenerator| generator.subschema_for::<M::Result>();
        Self { name: M::NAME, doc, params, result }
    }

    fn description(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

fn methods() -> impl Iterator<Item = &'static MethodSchema> {
    FAMILIES.iter().copied().flatten()
}

/// The types as definitions below a path, and what refers to them.
struct Definitions {
    path: &'static str,
    generator: SchemaGenerator,
    /// Frames by name: what the types leave to the envelope.
    frames: Map<String, Value>,
    /// The parameters and the result of each method by its name.
    methods: Map<String, Value>,
    admin_methods: Map<String, Value>,
}

impl Definitions {
    /// Everything that a frame can hold.
    fn below(path: &'static str) -> Self {
        let settings =
            SchemaSettings::draft2020_12().with(|settings| path.clone_into(settings.definitions_path.to_mut()));
        let generator = settings.into_generator();
        let (methods_of_clients, admin_methods) = (Map::new(), Map::new());
        let mut all = Self { path, generator, frames: Map::new(), methods: methods_of_clients, admin_methods };
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for method in methods() {
            let schema = all.method(method);
            requests.push(all.frame(&format!("Request.{}", method.name), all.request(method, &schema)));
            let answer = json!({"result": schema["result"]});
            let answer = all.envelope(&format!("The answer to `{}`.", method.name), &["id", "result"], answer);
            answers.push(all.frame(&format!("Answer.{}", method.name), answer));
            all.methods.insert(method.name.to_owned(), schema);
        }
        for method in ADMIN_METHODS {
            let schema = all.method(method);
            all.admin_methods.insert(method.name.to_owned(), schema);
        }
        let error = json!({
            "id": {"anyOf": [all.subschema::<RequestId>(), {"type": "null"}]},
            "error": all.subschema::<ErrorBody>(),
        });
        answers.push(all.frame("ErrorAnswer", all.envelope("The request changed nothing.", &["id", "error"], error)));
        all.subschema::<Cursor>();
        all.subschema::<Push>();
        all.frame("Request", json!({"description": "What a client writes.", "oneOf": requests}));
        all.frame("Answer", json!({"description": "What answers a request.", "anyOf": answers}));
        all
    }

    fn subschema<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    fn method(&mut self, method: &MethodSchema) -> Value {
        json!({
            "description": method.description(),
            "params": (method.params)(&mut self.generator),
            "result": (method.result)(&mut self.generator),
        })
    }

    fn frame(&mut self, name: &str, schema: Value) -> Value {
        self.frames.insert(name.to_owned(), schema);
        json!({"$ref": format!("#{}/{name}", self.path)})
    }

    fn request(&self, method: &MethodSchema, schema: &Value) -> Value {
        let params = schema["params"]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        let params = params.and_then(|name| self.generator.definitions().get(name));
        let takes_some = params.is_some_and(|params| params.get("required").is_some());
        let required: &[&str] = if takes_some { &["id", "method", "params"] } else { &["id", "method"] };
        let properties = json!({"method": {"const": method.name}, "params": schema["params"]});
        self.envelope(&method.description(), required, properties)
    }

    fn envelope(&self, description: &str, required: &[&str], mut properties: Value) -> Value {
        if properties.get("id").is_none() {
            properties["id"] = json!({"$ref": format!("#{}/RequestId", self.path)});
        }
        json!({"description": description, "type": "object", "properties": properties, "required": required})
    }

    /// All definitions by name.
    fn take(&mut self) -> Map<String, Value> {
        let mut all = self.generator.take_definitions(true);
        all.append(&mut self.frames);
        all.values_mut().for_each(tell_plainly);
        all
    }
}

/// Takes out of the descriptions what is for readers of the sources: links and line breaks.
fn tell_plainly(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace("crate::", "").replace('\n', " ");
            }
            fields.values_mut().for_each(tell_plainly);
        }
        Value::Array(values) => values.iter_mut().for_each(tell_plainly),
        _ => {}
    }
}

/// `schema/posthouse.v1.json`.
fn json_schema() -> Value {
    let mut definitions = Definitions::below("/$defs");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:posthouse.v1",
        "title": "posthouse.v1",
        "description": "The frames of the protocol; PROTOCOL.md explains them. Generated from server/protocol. `x-max-bytes` \
                        bounds a text's UTF-8 where `maxLength` counts characters.",
        "x-frame-bytes-max": limits::FRAME_LEN_MAX,
        "anyOf": [{"$ref": "#/$defs/Request"}, {"$ref": "#/$defs/Answer"}, {"$ref": "#/$defs/Push"}],
        "$defs": definitions.take(),
        "x-methods": definitions.methods,
        "x-admin-methods": definitions.admin_methods,
    })
}

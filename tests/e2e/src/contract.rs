//! The protocol's contract: `server/protocol/schema/posthouse.v1.json`, generated from the types.

use serde_json::Value;

/// The JSON Schema of the protocol.
pub struct Contract(Value);

impl Contract {
    /// As it is checked in.
    pub fn read() -> Self {
        let schema = include_str!("../../../server/protocol/schema/posthouse.v1.json");
        Self(serde_json::from_str(schema).expect("the schema is JSON"))
    }

    /// Every method that a session can call.
    pub fn methods(&self) -> Vec<String> {
        self.0["x-methods"].as_object().expect("methods").keys().cloned().collect()
    }

    /// The schema of a method's parameters.
    pub fn params(&self, method: &str) -> &Value {
        self.resolve(&self.0["x-methods"][method]["params"])
    }

    /// What a reference stands for; of an optional value, what it is when it is there.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return self.resolve(&self.0["$defs"][name]);
        }
        match schema["anyOf"].as_array().map(Vec::as_slice) {
            Some([one, null]) if null["type"] == "null" => self.resolve(one),
            _ => schema,
        }
    }
}

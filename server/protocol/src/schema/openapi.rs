//! OpenAPI 3.1 of the routes: `schema/openapi.json`.

use serde_json::{Map, Value, json};

use super::{Definitions, update};
use crate::claim::{
    CHALLENGE_PATH, CLAIM_PATH, ClaimAnswer, ClaimChallenge, ClaimParams, ClaimProof, ClaimResult, PROOF_PATH,
};
use crate::{EVENTS_PATH, LOGIN_PATH, LOGOUT_PATH, RPC_PATH, WEBSOCKET_PATH};

/// See the module.
pub(super) fn openapi() -> Value {
    let mut definitions = Definitions::below("/components/schemas");
    definitions.subschema::<ClaimChallenge>();
    definitions.subschema::<ClaimProof>();
    definitions.subschema::<ClaimAnswer>();
    definitions.subschema::<ClaimParams>();
    definitions.subschema::<ClaimResult>();
    update::define(&mut definitions);
    let mut schemas = definitions.take();
    schemas.insert("LoggedIn".to_owned(), logged_in());
    schemas.insert("Health".to_owned(), health());
    let mapping: Map<String, Value> = definitions
        .methods
        .keys()
        .map(|name| (name.clone(), json!(format!("#/components/schemas/Request.{name}"))))
        .collect();
    schemas["Request"]["discriminator"] = json!({"propertyName": "method", "mapping": mapping});
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Posthouse",
            "version": "posthouse.v1",
            "description": "The HTTP routes of a Posthouse server; PROTOCOL.md explains them. Generated from server/protocol.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/healthz": {"get": healthz()},
            EVENTS_PATH: {"get": events()},
            RPC_PATH: {"post": rpc()},
            WEBSOCKET_PATH: {"get": websocket()},
            CHALLENGE_PATH: {"get": challenge()},
            PROOF_PATH: {"post": proof()},
            CLAIM_PATH: {"post": claim()},
            LOGIN_PATH: {"post": login()},
            LOGOUT_PATH: {"post": logout()},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "session": {"type": "http", "scheme": "bearer", "description": "The secret of the event `open`."},
                "device": {"type": "http", "scheme": "bearer", "description": "The token of a device: the one that `login` gives."},
            },
        },
    });
    let paths = document["paths"].as_object_mut().expect("written above");
    paths.extend(update::paths());
    document
}

fn health() -> Value {
    json!({
        "type": "object",
        "properties": {"status": {"type": "string"}, "version": {"type": "string"}},
        "required": ["status"],
    })
}

pub(super) fn body(name: &str) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}})
}

pub(super) fn refusals(reasons: &[(&str, &str)]) -> Map<String, Value> {
    let refusal = |why: &str| json!({"description": why, "content": body("ErrorAnswer")});
    reasons.iter().map(|(status, why)| ((*status).to_owned(), refusal(why))).collect()
}

fn healthz() -> Value {
    json!({
        "summary": "Whether messages can become durable.",
        "security": [],
        "responses": {
            "200": {"description": "They can.", "content": body("Health")},
            "503": {"description": "They cannot.", "content": body("Health")},
        },
    })
}

fn events() -> Value {
    json!({
        "summary": "Opens a session and gives its events: `open`, then frames, then `close`.",
        "security": [],
        "parameters": [{
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Epoch and cursor with a hyphen between: the `resume` of a `connect` that names none.",
            "schema": {"type": "string"},
        }],
        "responses": {
            "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "403": {"description": FORBIDDEN},
            "405": {"description": "Not a GET."},
            "429": {"description": "This address has wasted too many connections."},
            "503": {"description": "Full or busy: come back after `Retry-After`."},
        },
    })
}

fn rpc() -> Value {
    let mut responses = refusals(&[
        ("400", "Not UTF-8."),
        ("401", "There is no such session."),
        ("403", FORBIDDEN),
        ("405", "Not a POST."),
        ("408", "The body was too slow."),
        ("413", "The body is too long."),
        ("415", "Not JSON."),
        ("503", "The session ended before the answer."),
    ]);
    responses.insert("200".to_owned(), json!({"description": "What the session answers.", "content": body("Answer")}));
    json!({
        "summary": "A request of the session that the bearer names.",
        "security": [{"session": []}],
        "requestBody": {"required": true, "content": body("Request")},
        "responses": responses,
    })
}

const FORBIDDEN: &str = "The page of another site asked (`Origin`), nobody owns the box yet, or TLS is asked for.";

fn posted(summary: &str, body_name: &str, answer: &str, reasons: &[(&str, &str)]) -> Value {
    let mut responses = refusals(reasons);
    let always = [
        ("400", "Not what is asked for."),
        ("408", "The body was too slow."),
        ("413", "The body is too long."),
        ("415", "Not JSON."),
    ];
    responses.extend(refusals(&always));
    responses.insert("200".to_owned(), json!({"description": "Done.", "content": body(answer)}));
    json!({"summary": summary, "security": [], "requestBody": {"required": true, "content": body(body_name)}, "responses": responses})
}

fn challenge() -> Value {
    json!({
        "summary": "What a proof is to cover, by which a new box is claimed.",
        "security": [],
        "responses": {"200": {"description": "It.", "content": body("ClaimChallenge")}},
    })
}

const OF_CODES: [(&str, &str); 3] = [
    ("403", "The code is wrong, or the page of another site asked (`Origin`)."),
    ("409", "The box has an owner, or the name is taken."),
    ("429", "Too many codes were wrong: come back after `Retry-After`."),
];

fn proof() -> Value {
    posted(
        "Shows a client that has the code that this is the box it stands on.",
        "ClaimProof",
        "ClaimAnswer",
        &OF_CODES,
    )
}

fn claim() -> Value {
    posted("Makes the owner of a box that nobody owns.", "ClaimParams", "ClaimResult", &OF_CODES)
}

fn login() -> Value {
    let reasons = [
        ("403", "User name and password don't match, the account is disabled, or as for a session."),
        ("429", "Too many passwords were wrong: come back after `Retry-After`."),
    ];
    posted("Logs a browser in: as `login`, with a cookie in place of the token.", "LoginParams", "LoggedIn", &reasons)
}

fn logged_in() -> Value {
    json!({
        "type": "object",
        "properties": {"account": {"$ref": "#/components/schemas/Account"}},
        "required": ["account"],
    })
}

fn logout() -> Value {
    json!({
        "summary": "Signs the browser's device out and takes its cookie back.",
        "security": [],
        "responses": {
            "200": {"description": "It is logged out."},
            "403": {"description": FORBIDDEN, "content": body("ErrorAnswer")},
        },
    })
}

fn websocket() -> Value {
    json!({
        "summary": "The WebSocket, subprotocol `posthouse.v1.json`: a session with its requests, answers and events.",
        "security": [],
        "responses": {
            "101": {"description": "The upgrade."},
            "400": {"description": "No upgrade, or to another subprotocol."},
            "403": {"description": FORBIDDEN},
            "429": {"description": "This address has wasted too many connections."},
            "503": {"description": "Full or busy: come back after `Retry-After`."},
        },
    })
}

//! OpenAPI of `/api/v1/update`.

use serde_json::{Map, Value, json};

use super::Definitions;
use super::openapi::{body, refusals};
use crate::update::{ApplyParams, BUNDLE_LEN_MAX, PostponeParams, UPDATE_PATH, UpdateHistory, UpdateStatus};

/// The types of the bodies.
pub(super) fn define(definitions: &mut Definitions) {
    definitions.subschema::<UpdateStatus>();
    definitions.subschema::<UpdateHistory>();
    definitions.subschema::<ApplyParams>();
    definitions.subschema::<PostponeParams>();
}

/// The routes.
pub(super) fn paths() -> Map<String, Value> {
    let changing = |summary: &str, takes: Option<&str>| json!({"post": changing(summary, takes)});
    let routes = [
        ("", json!({"get": reading("How updates stand.", "UpdateStatus")})),
        ("/history", json!({"get": reading("What has happened, the newest first.", "UpdateHistory")})),
        ("/check", changing("Looks for an update at the update URL, and waits for what it says.", None)),
        ("/apply", changing("Asks the updater to install a bundle.", Some("ApplyParams"))),
        ("/rollback", changing("Asks the updater to go back to the version before.", None)),
        ("/postpone", changing("Installs nothing by itself for some days.", Some("PostponeParams"))),
        ("/bundles/{sha256}", bundle()),
    ];
    routes.into_iter().map(|(below, route)| (format!("{UPDATE_PATH}{below}"), route)).collect()
}

const WHO: [(&str, &str); 3] = [
    ("401", "No token of a device, or one that is not valid."),
    ("403", "The account's role does not allow it, it is disabled, or the page of another site asked (`Origin`)."),
    ("404", "This server has no updater."),
];

fn answers(ok: &Value, more: &[(&str, &str)]) -> Value {
    let mut responses = refusals(&[&WHO, more].concat());
    responses.insert("200".to_owned(), ok.clone());
    Value::Object(responses)
}

fn reading(summary: &str, answer: &str) -> Value {
    json!({
        "summary": format!("{summary} For the owner and administrators."),
        "security": [{"device": []}],
        "responses": answers(&json!({"description": "It.", "content": body(answer)}), &[]),
    })
}

fn changing(summary: &str, takes: Option<&str>) -> Value {
    let reasons = [
        ("400", "Not what is asked for."),
        ("408", "The body was too slow."),
        ("409", "Not now: another request is being carried out, or there is nothing to do it with."),
        ("413", "The body is too long."),
        ("415", "Not JSON."),
        ("429", "Too often: come back after `Retry-After`."),
    ];
    let mut route = json!({
        "summary": format!("{summary} For the owner."),
        "security": [{"device": []}],
        "responses": answers(&json!({"description": "How updates stand now.", "content": body("UpdateStatus")}), &reasons),
    });
    if let Some(takes) = takes {
        route["requestBody"] = json!({"required": true, "content": body(takes)});
    }
    route
}

/// A bundle by the hash of its file, taken piece by piece (draft-ietf-httpbis-resumable-upload).
fn bundle() -> Value {
    let offset =
        json!({"description": "Bytes that the server has.", "schema": {"type": "integer", "maximum": BUNDLE_LEN_MAX}});
    let complete = json!({"description": "`?1` where the bundle is whole, else `?0`.", "schema": {"type": "string"}});
    let headers = json!({"Upload-Offset": offset, "Upload-Complete": complete});
    let so_far = json!({"description": "So much of it is there.", "headers": headers});
    let in_header = |name: &str, about: &str| json!({"name": name, "in": "header", "required": true, "description": about, "schema": {"type": "string"}});
    let reasons = [
        ("400", "A header is missing or odd, or the bundle's hash is another one: what there was of it is gone."),
        ("408", "Nothing came for too long: what came is kept."),
        ("409", "`Upload-Offset` is not how much is there, or somebody else is sending."),
        ("413", "The bundle is too long."),
        ("415", "Not `application/partial-upload`."),
        ("507", "There is no room for it."),
    ];
    let name = json!({
        "name": "sha256",
        "in": "path",
        "required": true,
        "description": "SHA-256 of the bundle's file.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    });
    let with = |summary: &str, reasons: &[(&str, &str)]| {
        json!({
            "parameters": [name],
            "summary": format!("{summary} For the owner."),
            "security": [{"device": []}],
            "responses": answers(&so_far, reasons),
        })
    };
    let mut patch = with("Adds what comes behind what is there; whole, it can be applied.", &reasons);
    patch["parameters"] = json!([
        name,
        in_header("Upload-Offset", "Where the body belongs: how much is there."),
        in_header("Upload-Length", "Length of the whole bundle, in bytes."),
        in_header("Upload-Complete", "`?1` where the body ends the bundle, else `?0`."),
    ]);
    patch["requestBody"] =
        json!({"required": true, "content": {"application/partial-upload": {"schema": {"type": "string"}}}});
    json!({
        "head": with("How much of a bundle is there.", &[]),
        "patch": patch,
        "delete": with("Throws away what is there of a bundle.", &[]),
    })
}

//! The web edge: the page that a browser finds, and the health check.
//!
//! Reads through the store only. Nothing imports it but the composition.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use crate::page;
use crate::store::Store;

const PAGE: &str = include_str!("web/index.html");

/// Answers a request that is not the WebSocket's.
pub fn respond(store: &Store, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
    }
    match request.uri().path() {
        "/" => page::html(StatusCode::OK, PAGE.replace("{version}", crate::VERSION)),
        "/healthz" => health(store),
        _ => page::text(StatusCode::NOT_FOUND, "not found"),
    }
}

/// `{"status": "ok" | "stopping", "version": …}`; 200 while messages can become durable, else 503.
fn health(store: &Store) -> Response<Full<Bytes>> {
    let (code, status) =
        if store.is_serving() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping") };
    page::json(code, &serde_json::json!({ "status": status, "version": crate::VERSION }))
}

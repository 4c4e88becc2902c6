//! The web edge: the page that a browser finds, and the health check.
//!
//! Reads through the store only. Nothing imports it but the composition.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};

use crate::store::Store;

const PAGE: &str = include_str!("web/index.html");

/// Answers a request that is not the WebSocket's.
pub fn respond(store: &Store, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "only GET and HEAD\n".to_owned());
    }
    match request.uri().path() {
        "/" => response(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("{version}", crate::VERSION)),
        "/healthz" => health(store),
        _ => response(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".to_owned()),
    }
}

/// `{"status": "ok" | "stopping", "version": …}`; 200 while messages can become durable, else 503.
fn health(store: &Store) -> Response<Full<Bytes>> {
    let (code, status) =
        if store.is_serving() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping") };
    let body = serde_json::json!({ "status": status, "version": crate::VERSION });
    response(code, "application/json", format!("{body}\n"))
}

/// A response with the headers that every page carries.
pub(crate) fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The page carries its style in the document and nothing else: no script, no frame, no request.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

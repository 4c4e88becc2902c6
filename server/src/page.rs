//! An HTTP answer with the headers that each of ours carries.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use posthouse_protocol::{ErrorBody, Outgoing};

/// Where the style of all pages is.
pub const STYLE_PATH: &str = "/style.css";

const STYLE: &str = include_str!("web/style.css");

/// What a page is made of comes from this server, nothing stands in its own text, and nobody frames it.
const POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// No page of another site keeps a handle on ours.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// No other site embeds what is ours.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A web page.
pub fn html(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, "text/html; charset=utf-8", body)
}

/// A JSON value, on a line of its own.
pub fn json<T: serde::Serialize>(status: StatusCode, body: &T) -> Response<Full<Bytes>> {
    let text = serde_json::to_string(body).expect("answers have string keys and no failing serialisers");
    json_text(status, format!("{text}\n"))
}

/// A text that is JSON.
pub fn json_text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, "application/json", body)
}

/// A frame without an `id` that says what is wrong.
pub fn error(status: StatusCode, error: &ErrorBody) -> Response<Full<Bytes>> {
    let frame: Outgoing<'_, serde_json::Value> = Outgoing::Error { id: None, error };
    let mut response = json_text(status, serde_json::to_string(&frame).expect("frames have string keys"));
    if let Some(wait_ms) = error.retry_after_ms {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1_000)));
    }
    response
}

/// A line for people.
pub fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// The style of all pages.
pub fn style() -> Response<Full<Bytes>> {
    answer(StatusCode::OK, "text/css; charset=utf-8", STYLE)
}

/// Any content.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // Not "no-referrer": with that, browsers take our own forms for another site's (their Origin is "null").
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Lets a page ask one more origin, which is this box by TLS.
pub fn may_ask(mut response: Response<Full<Bytes>>, origin: &str) -> Response<Full<Bytes>> {
    // What can't stand in a header can't be an origin of ours.
    if let Ok(policy) = HeaderValue::from_str(&format!("{POLICY}; connect-src 'self' {origin}")) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Lets pages of other origins see whether it is there, and nothing of it.
pub fn may_be_asked_for(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    response
}

/// Text as it may stand in HTML, also in an attribute with quotes around it.
pub fn escape(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    escaped.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Whether a request's body is to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

/// Whether a request's body is to be of that type.
pub fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let header = headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok()).unwrap_or_default();
    header.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        assert_eq!(escape("<script a='\"'>&"), "&lt;script a=&#39;&quot;&#39;&gt;&amp;");
    }
}

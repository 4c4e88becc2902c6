//! How a browser logs in and out: with a cookie that no script can read, instead of a token.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::SET_COOKIE;
use hyper::{Response, StatusCode};
use posthouse_protocol::{ErrorBody, LoginParams};
use serde_json::json;

use super::{Asked, Web, read_json, status_of};
use crate::{cookie, page};

impl Web {
    /// Parameters as of `login`; the answer has no token.
    pub(super) async fn log_in(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        let visit = &asked.visit;
        let params: LoginParams = match read_json(asked, body).await {
            Ok(params) => params,
            Err(refused) => return refused,
        };
        match self.router.log_in(&visit.visitor, params).await {
            Ok(login) => {
                let mut response = page::json(StatusCode::OK, &json!({ "account": login.account }));
                response.headers_mut().insert(SET_COOKIE, cookie::set(&login.token, visit.carrier));
                response
            }
            Err(error) => refused(&error),
        }
    }

    /// Signs out the device that the cookie is of, and has the browser forget it, whether it was one or not.
    pub(super) async fn log_out(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let carrier = asked.visit.carrier;
        if let Some(token) = cookie::token(&asked.head.headers, carrier)
            && let Err(error) = self.router.sign_out(&token).await
        {
            return refused(&error);
        }
        let mut response = page::json(StatusCode::OK, &json!({}));
        response.headers_mut().insert(SET_COOKIE, cookie::clear(carrier));
        response
    }
}

/// As programs are told.
pub(super) fn refused(error: &ErrorBody) -> Response<Full<Bytes>> {
    page::error(status_of(error), error)
}

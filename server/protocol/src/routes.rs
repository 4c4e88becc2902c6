//! Every HTTP route that a server answers, in one list.
//!
//! The listener lets nothing else in. The OpenAPI document and the table of who gets what from each (`tests/e2e`) are compared
//! with it, so that a route nobody has thought about is none.

use crate::claim::{CHALLENGE_PATH, CLAIM_PATH, PROOF_PATH};
use crate::update::UPDATE_PATH;
use crate::{EVENTS_PATH, LOGIN_PATH, LOGOUT_PATH, RPC_PATH, WEBSOCKET_PATH};

/// A method and a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// In capitals. `GET` stands for `HEAD`, too (RFC 9110, §9.3.2), but where something is opened that goes on.
    pub method: &'static str,
    /// A part in braces stands for any one.
    pub path: &'static str,
    /// Whom it is for.
    pub audience: Audience,
}

/// Whom a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The OpenAPI document describes it.
    Programs,
    /// A browser shows it, or sends its form.
    People,
}

/// Why a request asks for nothing that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// There is nothing by that path.
    Path,
    /// There is, for other methods: these, as the header `Allow` names them.
    Method(String),
}

const fn program(method: &'static str, path: &'static str) -> Route {
    Route { method, path, audience: Audience::Programs }
}

const fn person(method: &'static str, path: &'static str) -> Route {
    Route { method, path, audience: Audience::People }
}

/// All of them.
pub const ROUTES: &[Route] = &[
    program("GET", "/healthz"),
    program("GET", EVENTS_PATH),
    program("POST", RPC_PATH),
    program("GET", WEBSOCKET_PATH),
    program("GET", CHALLENGE_PATH),
    program("POST", PROOF_PATH),
    program("POST", CLAIM_PATH),
    program("POST", LOGIN_PATH),
    program("POST", LOGOUT_PATH),
    program("GET", UPDATE_PATH),
    program("GET", "/api/v1/update/history"),
    program("POST", "/api/v1/update/check"),
    program("POST", "/api/v1/update/apply"),
    program("POST", "/api/v1/update/rollback"),
    program("POST", "/api/v1/update/postpone"),
    program("HEAD", "/api/v1/update/bundles/{sha256}"),
    program("PATCH", "/api/v1/update/bundles/{sha256}"),
    program("DELETE", "/api/v1/update/bundles/{sha256}"),
    person("GET", "/"),
    person("GET", "/home"),
    person("GET", CLAIM_PATH),
    person("GET", "/recover"),
    person("POST", "/recover"),
    person("GET", "/trust"),
    person("GET", "/trust/windows"),
    person("GET", "/trust/mac"),
    person("GET", "/trust/iphone"),
    person("GET", "/trust/android"),
    person("GET", "/trust/linux"),
    person("GET", "/trust/ca.crt"),
    person("GET", "/trust/ca.mobileconfig"),
    person("GET", "/trusted"),
    person("GET", "/page.js"),
    person("GET", "/icon.svg"),
    person("GET", "/style.css"),
];

/// What opens a session, and ends with it.
const OPENINGS: [&str; 2] = [EVENTS_PATH, WEBSOCKET_PATH];

impl Route {
    /// The route that a request asks for; its path comes without a query.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(method: &str, path: &str) -> Result<&'static Self, NoRoute> {
        let here = || ROUTES.iter().filter(|route| route.is_at(path));
        if let Some(route) = here().find(|route| route.takes(method)) {
            return Ok(route);
        }
        let mut allowed: Vec<&str> = here().map(|route| route.method).collect();
        if here().any(|route| route.takes("HEAD")) && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        if allowed.is_empty() { Err(NoRoute::Path) } else { Err(NoRoute::Method(allowed.join(", "))) }
    }

    fn takes(&self, method: &str) -> bool {
        self.method == method || (self.method, method) == ("GET", "HEAD") && !OPENINGS.contains(&self.path)
    }

    fn is_at(&self, path: &str) -> bool {
        let (mut parts, mut asked) = (self.path.split('/'), path.split('/'));
        loop {
            match (parts.next(), asked.next()) {
                (None, None) => return true,
                (Some(part), Some(asked)) if part == asked || part.starts_with('{') && !asked.is_empty() => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_finds_its_route_and_no_other() {
        let path = |method, path| Route::of(method, path).map(|route| (route.method, route.path));
        assert_eq!(path("GET", "/"), Ok(("GET", "/")));
        assert_eq!(path("HEAD", "/home"), Ok(("GET", "/home")));
        assert_eq!(path("POST", "/claim"), Ok(("POST", "/claim")));
        assert_eq!(path("PATCH", "/api/v1/update/bundles/5f0c"), Ok(("PATCH", "/api/v1/update/bundles/{sha256}")));
        for nowhere in ["", "/claim/", "//", "/Home", "/api/v1/update/", "/api/v1/update/bundles/", "/trust/x/y"] {
            assert_eq!(path("GET", nowhere), Err(NoRoute::Path), "{nowhere}");
        }
        for (method, at, allowed) in [
            ("DELETE", "/claim", "POST, GET, HEAD"),
            ("HEAD", "/recover", ""),
            ("GET", "/api/v1/rpc", "POST"),
            ("HEAD", EVENTS_PATH, "GET"),
            ("HEAD", WEBSOCKET_PATH, "GET"),
            ("get", "/", "GET, HEAD"),
            ("GET", "/api/v1/update/bundles/x", "HEAD, PATCH, DELETE"),
        ] {
            match path(method, at) {
                Err(NoRoute::Method(named)) => assert_eq!(named, allowed, "{method} {at}"),
                found => assert!(found.is_ok() && allowed.is_empty(), "{method} {at}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_is_about_updates_is_below_their_path() {
        let about = ROUTES.iter().filter(|route| route.path.contains("update"));
        assert!(about.clone().all(|route| route.path.starts_with(UPDATE_PATH)));
        assert_eq!(about.count(), 9);
    }
}

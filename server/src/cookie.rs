//! The cookie by which a browser is known that has logged in: a device's token, which no script of a page can read.
//!
//! Over TLS and without, it has two names, so that what was once sent in the open is never taken for what was not.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue};
use posthouse_protocol::Token;

use crate::listener::Carrier;

/// A browser takes a cookie of this prefix from this very host over TLS only (RFC 6265bis, §4.1.3.2).
const SECURE_NAME: &str = "__Host-posthouse";
const PLAIN_NAME: &str = "posthouse-plain";

/// As long as browsers keep one (RFC 6265bis, §5.5); the device itself is given up earlier if it is not used.
const AGE_S: u32 = 400 * 24 * 3_600;

/// The token that a request brings, if it brings one of the kind that its connection is for.
pub fn token(headers: &HeaderMap, carrier: Carrier) -> Option<Token> {
    let name = name(carrier);
    let pairs =
        headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok()).flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(found, _)| *found == name);
    values.next().map(|(_, value)| Token(value.to_owned()))
}

/// What makes a browser bring it.
pub fn set(token: &Token, carrier: Carrier) -> HeaderValue {
    header(&token.0, AGE_S, carrier)
}

/// What makes a browser forget it.
pub fn clear(carrier: Carrier) -> HeaderValue {
    header("", 0, carrier)
}

fn header(value: &str, age_s: u32, carrier: Carrier) -> HeaderValue {
    let (name, secure) = match carrier {
        Carrier::Secure => (SECURE_NAME, "; Secure"),
        Carrier::Plain => (PLAIN_NAME, ""),
    };
    let text = format!("{name}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).expect("a token is hexadecimal")
}

fn name(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Secure => SECURE_NAME,
        Carrier::Plain => PLAIN_NAME,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(cookies: &[&'static str], carrier: Carrier) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        token(&headers, carrier).map(|token| token.0)
    }

    #[test]
    fn a_cookie_of_one_kind_is_never_taken_for_the_other() {
        let both = ["a=b; __Host-posthouse=safe;posthouse-plain=seen"];
        assert_eq!(brought(&both, Carrier::Secure).as_deref(), Some("safe"));
        assert_eq!(brought(&both, Carrier::Plain).as_deref(), Some("seen"));
        assert_eq!(brought(&["posthouse-plain=seen"], Carrier::Secure), None);
        assert_eq!(brought(&["__Host-posthouse=safe"], Carrier::Plain), None);
        assert_eq!(
            brought(&["x__Host-posthouse=no", "y=1", "__Host-posthouse=safe"], Carrier::Secure).as_deref(),
            Some("safe")
        );
        assert_eq!(brought(&[], Carrier::Secure), None);
    }

    #[test]
    fn scripts_and_other_sites_never_get_it() {
        let token = Token("9f2c".to_owned());
        assert_eq!(
            set(&token, Carrier::Secure),
            "__Host-posthouse=9f2c; Path=/; Max-Age=34560000; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            set(&token, Carrier::Plain),
            "posthouse-plain=9f2c; Path=/; Max-Age=34560000; HttpOnly; SameSite=Strict"
        );
        assert_eq!(clear(Carrier::Plain), "posthouse-plain=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}

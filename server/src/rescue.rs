//! The rescue edge: the page of a box that can't chat, and why.
//!
//! What finds the reason (the unit that can't mount the data partition, say) leaves it in a file; the
//! server then serves this page instead of failing again and again. A box's server does the same where its store refuses to be
//! opened.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};

use crate::page;
use crate::store::StoreError;

const PAGE: &str = include_str!("web/rescue.html");

/// Longest reason that is shown, in characters.
const REASON_CHARS_MAX: usize = 1_000;

/// What the file says; `None` where there is no such file: the rule.
pub fn reason(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    match std::fs::read(file) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().chars().take(REASON_CHARS_MAX).collect())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// What to tell people whose box has a store that can't be opened.
pub fn refusal(error: &StoreError) -> String {
    let way_out = match error {
        StoreError::TooNew { .. } => {
            "copy the newest release (a file that ends in .phb) to a USB stick and plug it in: the box installs it within some \
             minutes, and all messages are there again.\n\
             If nothing changes, have the card copied before anything else, on another computer."
        }
        _ => {
            "switch the box off, put the card in again and try once more.\n\
             If this comes again, have the card copied first, on another computer: the file lies on its fourth partition, in the \
             folder posthouse. To begin anew without the messages, flash a card with the image."
        }
    };
    format!("The messages cannot be opened: {error}.\nWhat to do: {way_out}")
}

/// Answers every request with the page, and `/healthz` with `{"status": "rescue", …}`; status 503 in both cases. Programs are told
/// by a code that the storage is full: that is nothing for which they can blame this server.
pub fn respond(reason: &str, is_storage_full: bool, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let code = StatusCode::SERVICE_UNAVAILABLE;
    if request.uri().path() == page::STYLE_PATH {
        return page::style();
    }
    if request.uri().path() == "/healthz" {
        let mut body = serde_json::json!({ "status": "rescue", "version": crate::VERSION, "reason": reason });
        if is_storage_full {
            body["code"] = "storage_full".into();
        }
        return page::json(code, &body);
    }
    page::html(code, PAGE.replace("{reason}", &page::escape(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_where_there_is_one_and_cut_where_it_is_endless() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("reason");
        assert_eq!(reason(None).expect("no file is asked for"), None);
        assert_eq!(reason(Some(&file)).expect("none is the rule"), None);
        std::fs::write(&file, "the card is worn out\n").expect("written");
        assert_eq!(reason(Some(&file)).expect("read").as_deref(), Some("the card is worn out"));
        std::fs::write(&file, [b'x', 0xff].repeat(5_000)).expect("written");
        assert_eq!(reason(Some(&file)).expect("read").expect("a reason").chars().count(), REASON_CHARS_MAX);
        assert!(reason(Some(folder.path())).is_err(), "a folder is no reason");
    }

    #[test]
    fn what_to_do_is_what_helps() {
        let path = std::path::PathBuf::from("posthouse.redb");
        let newer = refusal(&StoreError::TooNew { path: path.clone(), min_reader: 3, schema: 2 });
        assert!(newer.contains("needs a newer posthoused") && newer.contains("USB stick"), "{newer}");
        assert!(!newer.contains("flash"), "nothing is to be thrown away: {newer}");
        let damaged = refusal(&StoreError::Corrupt { path, reason: "no header".to_owned() });
        assert!(damaged.contains("is damaged") && damaged.contains("have the card copied first"), "{damaged}");
    }
}

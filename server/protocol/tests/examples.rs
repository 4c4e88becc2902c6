//! `PROTOCOL.md` is true: every example in it is read with the types that the server and the client use.

use std::collections::HashMap;

use posthouse_protocol::{
    AccountsCreate, AccountsDepart, AccountsDevices, AccountsDisable, AccountsEnable, AccountsGet, AccountsImport,
    AccountsMe, AccountsReset, AccountsRole, AccountsSearch, AccountsSignOut, AccountsUpdate, Connect,
    ConversationsAdd, ConversationsCreate, ConversationsDirect, ConversationsGet, ConversationsLeave,
    ConversationsList, ConversationsMembers, ConversationsMute, ConversationsPin, ConversationsRemove,
    ConversationsRole, ConversationsUpdate, DevicesList, DevicesRevoke, ErrorCode, History, Incoming, InvitesAccept,
    InvitesCreate, InvitesList, InvitesRevoke, Login, Logout, MessagesEdit, MessagesReact, MessagesRecall,
    MessagesVersions, Method, PasswordChange, Ping, Presence, Pushed, Receipt, ReceiptsGet, RequestHead, RequestId,
    Send, Sync, Typing, admin,
};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../PROTOCOL.md");

/// How to check a method's parameters and result: parse, write again, compare.
struct Checks {
    params: fn(&RequestHead<'_>) -> Value,
    result: fn(&str) -> Value,
}

fn checks<M: Method>() -> (&'static str, Checks) {
    let params = |head: &RequestHead<'_>| {
        serde_json::to_value(head.params::<M>().unwrap_or_else(|error| panic!("{error}"))).expect("serialises")
    };
    let result = |text: &str| {
        let result: M::Result = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        serde_json::to_value(result).expect("serialises")
    };
    (M::NAME, Checks { params, result })
}

fn methods() -> HashMap<&'static str, Checks> {
    HashMap::from([
        checks::<Login>(),
        checks::<Connect>(),
        checks::<ConversationsDirect>(),
        checks::<ConversationsGet>(),
        checks::<ConversationsList>(),
        checks::<ConversationsCreate>(),
        checks::<ConversationsUpdate>(),
        checks::<ConversationsMembers>(),
        checks::<ConversationsAdd>(),
        checks::<ConversationsRemove>(),
        checks::<ConversationsRole>(),
        checks::<ConversationsLeave>(),
        checks::<Send>(),
        checks::<MessagesEdit>(),
        checks::<ConversationsMute>(),
        checks::<ConversationsPin>(),
        checks::<Typing>(),
        checks::<Presence>(),
        checks::<Receipt>(),
        checks::<ReceiptsGet>(),
        checks::<MessagesVersions>(),
        checks::<MessagesReact>(),
        checks::<MessagesRecall>(),
        checks::<Sync>(),
        checks::<History>(),
        checks::<Ping>(),
        checks::<AccountsMe>(),
        checks::<AccountsGet>(),
        checks::<AccountsSearch>(),
        checks::<AccountsUpdate>(),
        checks::<AccountsCreate>(),
        checks::<AccountsDisable>(),
        checks::<AccountsEnable>(),
        checks::<AccountsReset>(),
        checks::<AccountsRole>(),
        checks::<AccountsDepart>(),
        checks::<AccountsImport>(),
        checks::<AccountsDevices>(),
        checks::<AccountsSignOut>(),
        checks::<DevicesList>(),
        checks::<DevicesRevoke>(),
        checks::<Logout>(),
        checks::<PasswordChange>(),
        checks::<InvitesCreate>(),
        checks::<InvitesList>(),
        checks::<InvitesRevoke>(),
        checks::<InvitesAccept>(),
        checks::<admin::AccountAdd>(),
        checks::<admin::GroupEverybody>(),
        checks::<admin::RetentionGet>(),
        checks::<admin::RetentionSet>(),
        checks::<admin::CertificateGet>(),
        checks::<admin::CertificateInstall>(),
        checks::<admin::CertificateRemove>(),
    ])
}

#[test]
fn every_example_of_the_document_is_what_the_types_say() {
    let methods = methods();
    let mut asked: HashMap<RequestId, String> = HashMap::new();
    let mut shown: Vec<String> = Vec::new();
    for line in DOCUMENT.lines() {
        if let Some(frame) = line.strip_prefix("→ ") {
            let head = RequestHead::parse(frame).unwrap_or_else(|error| panic!("{frame}: {error}"));
            if let Some(checks) = methods.get(head.method.as_ref()) {
                let written: Value = serde_json::from_str(frame).expect("JSON");
                let params = written.get("params").cloned().unwrap_or_else(|| serde_json::json!({}));
                assert_eq!((checks.params)(&head), params, "{frame}");
            }
            asked.insert(head.id, head.method.to_string());
            shown.push(head.method.into_owned());
        } else if let Some(frame) = line.strip_prefix("← ") {
            check_answer(frame, &methods, &asked);
        }
    }
    for name in methods.keys() {
        assert!(shown.iter().any(|method| method == name), "PROTOCOL.md has no example of {name}");
    }
}

fn check_answer(frame: &str, methods: &HashMap<&str, Checks>, asked: &HashMap<RequestId, String>) {
    match Incoming::parse(frame).unwrap_or_else(|error| panic!("{frame}: {error}")) {
        Incoming::Answer { id: Some(id), outcome: Ok(result) } => {
            let method = asked.get(&id).unwrap_or_else(|| panic!("{frame} answers nothing"));
            let written: Value = serde_json::from_str(result.get()).expect("JSON");
            assert_eq!((methods[method.as_str()].result)(result.get()), written, "{frame}");
        }
        Incoming::Answer { id, outcome: Err(_) } => {
            assert!(id.is_some_and(|id| asked.contains_key(&id)), "{frame} answers nothing");
        }
        Incoming::Event(Pushed::Known(event)) => {
            let written: Value = serde_json::from_str(frame).expect("JSON");
            assert_eq!(serde_json::to_value(event).expect("serialises"), written, "{frame}");
        }
        other => panic!("{frame}: {other:?}"),
    }
}

#[test]
fn every_error_code_stands_in_the_table() {
    use ErrorCode::*;
    // The enum is open to later versions, so this list names what this one has.
    let all = [
        BadRequest,
        UnknownMethod,
        InvalidParams,
        NotConnected,
        AlreadyConnected,
        LoginFailed,
        TokenInvalid,
        PasswordChangeRequired,
        AccountDisabled,
        Unclaimed,
        CodeWrong,
        InviteInvalid,
        NotFound,
        Forbidden,
        LimitReached,
        AlreadyExists,
        Conflict,
        CursorExpired,
        StorageFull,
        RateLimited,
        Overloaded,
        Unavailable,
    ];
    for code in all {
        let name = serde_json::to_value(code).expect("serialises");
        let row = format!("| `{}` |", name.as_str().expect("a string"));
        assert!(DOCUMENT.contains(&row), "PROTOCOL.md lacks the row {row}");
    }
    let rows = DOCUMENT.lines().filter(|line| line.ends_with("| no |") || line.ends_with("| yes |")).count();
    assert_eq!(rows, all.len(), "PROTOCOL.md's table of errors has rows that no code stands for");
}

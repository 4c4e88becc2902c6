//! The session's rules, without any I/O.

use posthouse_protocol::{AccountId, ConnectResult, Cursor, Epoch, LimitsInfo, Username};

use super::*;

fn session() -> Session {
    Session::new(Instant::now())
}

fn connected() -> Session {
    let mut session = session();
    let Action::Run(id, Command::Connect(_)) =
        session.on_frame(r#"{"id":1,"method":"connect","params":{"token":"t"}}"#)
    else {
        panic!("connect must run");
    };
    session.on_outcome(id, &Ok(Outcome::Connect(connect_result())));
    session
}

fn connect_result() -> ConnectResult {
    ConnectResult {
        account: Account { account_id: AccountId(1), username: Username::new("anna").expect("a name") },
        epoch: Epoch(1),
        cursor: Cursor("0".to_owned()),
        ping_interval_s: limits::PING_INTERVAL_S,
        limits: LimitsInfo::CURRENT,
    }
}

fn error_code(action: &Action) -> String {
    let Action::Reply(frame) = action else { panic!("expected a reply, got {action:?}") };
    let frame: serde_json::Value = serde_json::from_str(frame).expect("JSON");
    frame["error"]["code"].as_str().expect("an error").to_owned()
}

#[test]
fn what_needs_an_account_is_refused_before_connect() {
    for frame in [
        r#"{"id":1,"method":"conversations.list"}"#,
        r#"{"id":1,"method":"conversations.direct","params":{"username":"ben"}}"#,
        r#"{"id":1,"method":"send","params":{"conversation_id":1,"client_msg_id":"a","text":"hi"}}"#,
        r#"{"id":1,"method":"history","params":{"conversation_id":1}}"#,
    ] {
        assert_eq!(error_code(&session().on_frame(frame)), "not_connected", "{frame}");
    }
}

#[test]
fn after_connect_requests_run_for_the_account_that_connected() {
    let action = connected().on_frame(r#"{"id":2,"method":"history","params":{"conversation_id":1}}"#);
    let Action::Run(RequestId(2), Command::History(account, _)) = action else { panic!("got {action:?}") };
    assert_eq!(account.username.as_str(), "anna");
}

#[test]
fn a_second_connect_is_refused_while_the_first_runs_and_after_it() {
    let frame = r#"{"id":1,"method":"connect","params":{"token":"t"}}"#;
    let mut session = session();
    assert!(matches!(session.on_frame(frame), Action::Run(..)));
    assert_eq!(error_code(&session.on_frame(frame)), "already_connected");
    assert_eq!(error_code(&connected().on_frame(frame)), "already_connected");
}

#[test]
fn a_rejected_token_is_answered_and_then_the_connection_is_closed() {
    let mut session = session();
    session.on_frame(r#"{"id":1,"method":"connect","params":{"token":"t"}}"#);
    let rejected = Err(ErrorBody::new(ErrorCode::TokenInvalid, "log in again"));
    let (frame, then) = session.on_outcome(RequestId(1), &rejected);
    assert!(frame.contains("token_invalid"), "{frame}");
    assert!(matches!(then, Some(Action::Close(close::REAUTHENTICATE, _))), "{then:?}");
}

#[test]
fn who_does_not_connect_in_time_is_closed_and_who_did_is_not() {
    let start = Instant::now();
    let late = start + Duration::from_secs(limits::CONNECT_TIMEOUT_S);
    let mut idle = Session::new(start);
    assert!(idle.on_deadline(late - Duration::from_millis(1)).is_none());
    assert!(matches!(idle.on_deadline(late), Some(Action::Close(close::REAUTHENTICATE, _))));
    assert!(connected().on_deadline(late + Duration::from_secs(3600)).is_none());
}

#[test]
fn frames_that_are_no_requests_get_a_typed_error() {
    for (frame, code) in [
        ("", "bad_request"),
        ("[]", "bad_request"),
        ("{\"id\":-1,\"method\":\"ping\"}", "bad_request"),
        ("{\"id\":1}", "bad_request"),
        ("{\"id\":1,\"method\":\"fly\"}", "unknown_method"),
        ("{\"id\":1,\"method\":\"ping\",\"params\":{\"x\":1}}", "invalid_params"),
        ("{\"id\":1,\"method\":\"ping\",\"params\":[]}", "invalid_params"),
        ("{\"id\":1,\"method\":\"connect\"}", "invalid_params"),
        ("{\"id\":1,\"method\":\"connect\",\"params\":[\"token\"]}", "invalid_params"),
        ("{\"id\":1,\"method\":\"login\",\"params\":{\"username\":7}}", "invalid_params"),
    ] {
        assert_eq!(error_code(&session().on_frame(frame)), code, "{frame}");
    }
}

#[test]
fn deeply_nested_parameters_are_refused_without_harm() {
    let nested = format!("{{\"id\":1,\"method\":\"ping\",\"params\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(error_code(&session().on_frame(&nested)), "invalid_params");
}

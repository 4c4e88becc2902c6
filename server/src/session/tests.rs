//! The session's rules, without any I/O.

use posthouse_protocol::Empty;

use super::*;
use crate::router::Answer;
use crate::store::Origin;

const CONNECT: &str = r#"{"id":1,"method":"connect","params":{"token":"t"}}"#;

const CALLER: Caller = Caller { account_id: AccountId(1), origin: Origin(7) };

/// Behind it the events of [`CALLER`] begin.
const BEGIN: u64 = 41;

fn session() -> Session {
    Session::new(Instant::now())
}

fn connected() -> Session {
    let mut session = session();
    let running = runs(&session.on_frame(CONNECT));
    session.on_outcome(running, Ok(Answer::connected(Empty {}, CALLER, BEGIN)));
    session
}

fn runs(action: &Action) -> Running {
    let Action::Run(running, _) = action else { panic!("it must run, not {}", error_code(action)) };
    *running
}

fn error_code(action: &Action) -> String {
    let Action::Reply(frame) = action else { panic!("a reply was expected") };
    let frame: serde_json::Value = serde_json::from_str(frame).expect("JSON");
    frame["error"]["code"].as_str().expect("an error").to_owned()
}

#[test]
fn what_needs_an_account_is_refused_before_connect() {
    for frame in [
        r#"{"id":1,"method":"conversations.list"}"#,
        r#"{"id":1,"method":"conversations.direct","params":{"username":"ben"}}"#,
        r#"{"id":1,"method":"send","params":{"conversation_id":1,"client_msg_id":"a","body":{"type":"text","text":"hi"}}}"#,
        r#"{"id":1,"method":"history","params":{"conversation_id":1}}"#,
        r#"{"id":1,"method":"sync","params":{"cursor":"0"}}"#,
    ] {
        assert_eq!(error_code(&session().on_frame(frame)), "not_connected", "{frame}");
    }
}

#[test]
fn after_connect_requests_run_for_the_account_that_connected() {
    let mut session = connected();
    assert_eq!(session.account(), Some(CALLER.account_id));
    let running = runs(&session.on_frame(r#"{"id":2,"method":"history","params":{"conversation_id":1}}"#));
    let (frame, then) = session.on_outcome(running, Ok(Answer::connected(Empty {}, CALLER, BEGIN)));
    assert_eq!(frame, r#"{"id":2,"result":{}}"#);
    assert!(then.is_none());
}

#[test]
fn who_says_that_it_has_everything_before_its_events_has_caught_up() {
    let sync = |session: &mut Session, cursor: u64, is_answered: bool| {
        let frame = format!(r#"{{"id":2,"method":"sync","params":{{"cursor":"{cursor}"}}}}"#);
        let running = runs(&session.on_frame(&frame));
        let mut answer = Answer::connected(Empty {}, CALLER, BEGIN).with_caught_up(Some(cursor));
        answer.connected = None;
        let refused = ErrorBody::new(ErrorCode::InvalidParams, "no such cursor");
        session.on_outcome(running, if is_answered { Ok(answer) } else { Err(refused) });
        session.has_caught_up()
    };
    for resumed in [None, Some(0), Some(BEGIN - 1)] {
        let mut session = session();
        let running = runs(&session.on_frame(CONNECT));
        session.on_outcome(running, Ok(Answer::connected(Empty {}, CALLER, BEGIN).with_caught_up(resumed)));
        assert!(!session.has_caught_up(), "{resumed:?}");
        assert!(!sync(&mut session, BEGIN - 1, true), "the answer may be lost");
        assert!(!sync(&mut session, BEGIN + 9, false), "a cursor of another database");
        assert!(sync(&mut session, BEGIN, true));
        assert!(sync(&mut session, 0, true), "it asks again for what it has");
    }
    let mut session = session();
    let running = runs(&session.on_frame(CONNECT));
    session.on_outcome(running, Ok(Answer::connected(Empty {}, CALLER, BEGIN).with_caught_up(Some(BEGIN))));
    assert!(session.has_caught_up(), "nothing was missing");
}

#[test]
fn another_requests_failure_does_not_let_a_second_connect_in() {
    let mut session = session();
    runs(&session.on_frame(CONNECT));
    let login = r#"{"id":1,"method":"login","params":{"username":"anna","password":"x","device":"d"}}"#;
    let login = runs(&session.on_frame(login));
    session.on_outcome(login, Err(ErrorBody::new(ErrorCode::LoginFailed, "no")));
    assert_eq!(error_code(&session.on_frame(CONNECT)), "already_connected");
}

#[test]
fn a_second_connect_is_refused_while_the_first_runs_and_after_it() {
    let mut session = session();
    runs(&session.on_frame(CONNECT));
    assert_eq!(error_code(&session.on_frame(CONNECT)), "already_connected");
    assert_eq!(error_code(&connected().on_frame(CONNECT)), "already_connected");
}

#[test]
fn a_rejected_token_is_answered_and_then_the_connection_is_closed() {
    let mut session = session();
    let running = runs(&session.on_frame(CONNECT));
    let rejected = Err(ErrorBody::new(ErrorCode::TokenInvalid, "log in again"));
    let (frame, then) = session.on_outcome(running, rejected);
    assert!(frame.contains("token_invalid"), "{frame}");
    assert!(matches!(then, Some(Action::Close(close::REAUTHENTICATE, _))));
    runs(&session.on_frame(CONNECT));
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
        ("{\"id\":1,\"method\":\"connect\",\"params\":{\"token\":7}}", "invalid_params"),
        ("{\"id\":1,\"method\":\"connect\",\"params\":[\"token\"]}", "invalid_params"),
        ("{\"id\":1,\"method\":\"login\",\"params\":{\"username\":7}}", "invalid_params"),
    ] {
        assert_eq!(error_code(&session().on_frame(frame)), code, "{frame}");
    }
}

#[test]
fn a_message_of_a_kind_that_nobody_may_send_is_refused_before_it_runs() {
    let long = "x".repeat(limits::TEXT_LEN_MAX + 1);
    let text = |text: &str| format!(r#"{{"type":"text","text":"{text}"}}"#);
    for body in ["{}", r#""hi""#, r#"{"type":"system","text":"hi"}"#, r#"{"type":"text"}"#, r#"{"text":"hi"}"#]
        .map(str::to_owned)
        .into_iter()
        .chain([r#"{"type":"text","text":"hi","bold":true}"#.to_owned(), text(""), text(&long)])
    {
        let params = format!(r#"{{"conversation_id":1,"client_msg_id":"a","body":{body}}}"#);
        let frame = format!(r#"{{"id":1,"method":"send","params":{params}}}"#);
        assert_eq!(error_code(&connected().on_frame(&frame)), "invalid_params", "{body:.100}");
    }
}

#[test]
fn deeply_nested_parameters_are_refused_without_harm() {
    let nested = format!("{{\"id\":1,\"method\":\"ping\",\"params\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(error_code(&session().on_frame(&nested)), "invalid_params");
}

#[test]
fn no_send_overtakes_one_that_came_too_soon_until_that_one_comes_again() {
    let (mut session, now) = (connected(), Instant::now());
    refused_for(&mut session, &send(1, "a"), 6, now);
    for overtaking in [send(1, "b"), send(2, "a")] {
        let refused = session.admit(&overtaking, now).expect_err("it has to wait");
        assert!(refused.code == ErrorCode::RateLimited && refused.retryable, "{refused:?}");
        refused_for(&mut session, &overtaking, 6, now);
    }
    for other in [r#"{"id":1,"method":"ping"}"#, r#"{"id":1,"method":"send","params":{}}"#, "nonsense"] {
        assert_eq!(session.admit(other, now), Ok(()), "it overtakes nothing: {other}");
    }
    assert!(session.admit(&send(1, "b"), now).is_err(), "and changes nothing");
    assert_eq!(session.admit(&send(1, "a"), now), Ok(()));
    assert_eq!(session.admit(&send(1, "b"), now), Ok(()));
    refused_for(&mut session, &send(1, "b"), 6, now);
    assert!(session.admit(&send(1, "c"), now).is_err(), "the next one that is refused");
}

#[test]
fn who_does_not_send_again_what_came_too_soon_is_held_for_as_long_as_it_was_told() {
    for (wait_ms, told_ms) in [(6, HOLD_MIN_MS), (900, 900)] {
        let (mut session, now) = (connected(), Instant::now());
        assert_eq!(refused_for(&mut session, &send(1, "a"), wait_ms, now), told_ms);
        let late = now + Duration::from_millis(told_ms - 5);
        let refused = session.admit(&send(1, "b"), late).expect_err("it has to wait");
        let rest_ms = refused.retry_after_ms.expect("a time to wait");
        assert!((5..=6).contains(&rest_ms), "no longer than the first: {rest_ms} ms");
        // It is refused itself, and holds nobody for longer.
        refused_for(&mut session, &send(1, "b"), rest_ms, late);
        assert_eq!(session.admit(&send(1, "c"), now + Duration::from_millis(told_ms)), Ok(()));
    }
}

#[test]
fn what_is_no_message_holds_nothing_and_waits_no_longer_than_it_has_to() {
    let now = Instant::now();
    for (mut session, frame) in [
        (connected(), r#"{"id":1,"method":"ping"}"#.to_owned()),
        (connected(), r#"{"id":1,"method":"send","params":{"conversation_id":1}}"#.to_owned()),
        (session(), send(1, "a")),
    ] {
        assert_eq!(refused_for(&mut session, &frame, 6, now), 6, "{frame}");
        assert_eq!(session.admit(&send(1, "b"), now), Ok(()), "{frame}");
    }
}

fn send(conversation: u64, name: &str) -> String {
    let params = format!(
        r#"{{"conversation_id":{conversation},"client_msg_id":"{name}","body":{{"type":"text","text":"hi"}}}}"#
    );
    format!(r#"{{"id":1,"method":"send","params":{params}}}"#)
}

/// The frame comes so many milliseconds too soon; gives how many the client is told to wait.
fn refused_for(session: &mut Session, frame: &str, wait_ms: u64, now: Instant) -> u64 {
    let refused = ErrorBody::new(ErrorCode::RateLimited, "wait").retry_after_ms(wait_ms);
    let Action::Reply(answer) = session.refuse(frame, refused, now) else { panic!("a reply was expected") };
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
    answer["error"]["retry_after_ms"].as_u64().expect("a time to wait")
}

//! One attempt: what a person's device does, from the log-in to the sign-out. The frames are those of PROBE.md, byte by byte.

use serde_json::Value;
use tungstenite::{Message, WebSocket};

use crate::door::{Door, Stream};

/// The name under which the probe logs in.
const USERNAME: &str = "posthouse-probe";

/// Its conversation.
const CONVERSATION: u64 = 9_007_199_254_740_991;

/// What an attempt came to, with the reason.
#[derive(Debug)]
pub enum Outcome {
    Passed,
    Failed(String),
    /// The server asks to be asked again.
    Later(String),
    Inconclusive(String),
}

type Step<T> = Result<T, Outcome>;

/// Tries all of it once. `begin` is told what is tried next.
pub fn attempt(door: &Door, secret: &str, begin: impl Fn(&str)) -> Outcome {
    match steps(door, secret, begin) {
        Ok(()) => Outcome::Passed,
        Err(outcome) => outcome,
    }
}

fn steps(door: &Door, secret: &str, begin: impl Fn(&str)) -> Step<()> {
    begin("GET /healthz");
    let health = door.get("/healthz")?;
    if health.status != 200 {
        return Err(health.refusal("it does not call itself healthy"));
    }
    begin("opening two WebSockets");
    let (mut first, mut second) = (Device::open(door)?, Device::open(door)?);
    begin("login");
    let (user, secret) = (quoted(USERNAME), quoted(secret));
    let login =
        format!(r#"{{"id":1,"method":"login","params":{{"username":{user},"password":{secret},"device":{user}}}}}"#);
    let token = quoted(text(&first.call(1, &login)?, "token")?);
    begin("connect");
    let connect = |id: u64| format!(r#"{{"id":{id},"method":"connect","params":{{"token":{token}}}}}"#);
    let cursor = quoted(text(&first.call(2, &connect(2))?, "cursor")?);
    second.call(1, &connect(1))?;

    begin("send");
    let name = format!("probe-{:016x}", getrandom::u64().map_err(|error| Outcome::Inconclusive(error.to_string()))?);
    let send = format!(
        r#"{{"id":3,"method":"send","params":{{"conversation_id":{CONVERSATION},"client_msg_id":{},"body":{{"type":"text","text":"probe"}}}}}}"#,
        quoted(&name)
    );
    let sent = first.call(3, &send)?;
    let seq = sent["seq"].as_u64().ok_or_else(|| failed("send: the answer has no seq"))?;
    begin("history");
    let history = format!(r#"{{"id":4,"method":"history","params":{{"conversation_id":{CONVERSATION},"limit":1}}}}"#);
    let history = first.call(4, &history)?;
    let newest = &history["messages"][0];
    if newest["client_msg_id"] != *name || newest["seq"] != seq {
        return Err(failed("history: the message that was acknowledged is not in it"));
    }
    begin("sync");
    let sync = first.call(5, &format!(r#"{{"id":5,"method":"sync","params":{{"cursor":{cursor}}}}}"#))?;
    let events = sync["events"].as_array().ok_or_else(|| failed("sync: the answer has no events"))?;
    if !events.iter().any(|event| is_delivery(event, &name)) {
        return Err(failed("sync: the message that was acknowledged is not in it"));
    }
    begin("the delivery to another connection");
    second.wait_for(|frame| is_delivery(frame, &name).then_some(Ok(())))?;
    begin("logout");
    first.call(6, r#"{"id":6,"method":"logout","params":{}}"#)?;
    Ok(())
}

fn is_delivery(event: &Value, name: &str) -> bool {
    event["event"] == "message" && event["data"]["client_msg_id"] == *name
}

/// One of the probe's connections.
struct Device {
    socket: WebSocket<Box<dyn Stream>>,
}

impl Device {
    fn open(door: &Door) -> Step<Self> {
        Ok(Self { socket: door.websocket()? })
    }

    /// Sends a request and gives the result of its answer.
    fn call(&mut self, id: u64, request: &str) -> Step<Value> {
        let lost = |error| failed(&format!("the connection ended: {error}"));
        self.socket.send(Message::text(request)).map_err(lost)?;
        let method =
            serde_json::from_str::<Value>(request).map(|request| request["method"].clone()).unwrap_or_default();
        self.wait_for(|frame| {
            if frame["id"] != id {
                return None;
            }
            Some(match (frame.get("result"), frame.get("error")) {
                (Some(result), None) => Ok(result.clone()),
                (_, error) => Err(refused(&method, error.unwrap_or(&Value::Null))),
            })
        })
    }

    /// The first frame that is looked for, past all others.
    fn wait_for<T>(&mut self, mut found: impl FnMut(&Value) -> Option<Step<T>>) -> Step<T> {
        loop {
            let message = self.socket.read().map_err(|error| failed(&format!("the connection ended: {error}")))?;
            let Message::Text(text) = message else { continue };
            let frame = serde_json::from_str(&text).map_err(|_| failed("a frame is no JSON"))?;
            if let Some(outcome) = found(&frame) {
                return outcome;
            }
        }
    }
}

/// What an error in place of a result comes to.
fn refused(method: &Value, error: &Value) -> Outcome {
    let said = error["message"].as_str().or(error["code"].as_str()).unwrap_or("it does not say why");
    let reason = format!("{}: {said}", method.as_str().unwrap_or_default());
    match error["code"].as_str() {
        Some("storage_full") => Outcome::Inconclusive(reason),
        _ if error["retryable"] == true => Outcome::Later(reason),
        _ => Outcome::Failed(reason),
    }
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed(reason.to_owned())
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn text<'a>(result: &'a Value, name: &str) -> Step<&'a str> {
    result[name].as_str().ok_or_else(|| failed(&format!("an answer has no {name}")))
}

//! Browsers: logged in by a cookie that no script can read, by either transport, until they log out.

use posthouse_e2e::http::{Answer, RawEvents, post};
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::{Device, PASSWORD, Server, Site};
use posthouse_protocol::{DevicesList, Empty};
use serde_json::json;

async fn post_json(server: &Server, path: &str, headers: &str, body: &serde_json::Value) -> Answer {
    let headers = format!("Content-Type: application/json\r\nConnection: close\r\n{headers}");
    post(server.address(), path, &headers, body.to_string().as_bytes()).await
}

async fn log_in(server: &Server, name: &str, password: &str) -> Answer {
    post_json(server, "/api/v1/login", "", &json!({"username": name, "password": password, "device": "browser"})).await
}

/// The header by which the browser brings its cookie.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(set.contains("; HttpOnly") && set.contains("; SameSite=Strict") && set.contains("; Path=/"), "{set}");
    assert!(!set.contains("Domain"), "{set}");
    format!("Cookie: {}\r\n", set.split(';').next().expect("a pair"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_logged_in_connects_without_a_token_until_it_logs_out() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let login = log_in(&server, "anna", PASSWORD).await;
    assert_eq!((login.status, &login.json()["account"]["username"]), (200, &json!("anna")));
    assert!(login.json().get("token").is_none(), "no script gets to see it");
    let cookie = cookie(&login);

    let events = RawEvents::open_with(server.address(), &cookie).await;
    let connected = events.call(1, "connect", json!({})).await;
    assert_eq!(connected["result"]["account"]["username"], "anna", "{connected}");
    let mut socket = RawSocket::open_with(server.address(), &cookie).await;
    let connected = socket.call(1, "connect", json!({})).await;
    assert_eq!(connected["result"]["account"]["username"], "anna", "{connected}");

    let anna = Device::log_in(&server.url(), "anna").await;
    assert_eq!(anna.client.call::<DevicesList>(&Empty {}).await.expect("a list").devices.len(), 2);
    let logout = post_json(&server, "/api/v1/logout", &cookie, &json!({})).await;
    assert_eq!(logout.status, 200);
    assert!(
        logout
            .header("set-cookie")
            .is_some_and(|set| set.starts_with("posthouse-plain=;") && set.contains("Max-Age=0"))
    );
    assert_eq!(anna.client.call::<DevicesList>(&Empty {}).await.expect("a list").devices.len(), 1);
    let events = RawEvents::open_with(server.address(), &cookie).await;
    assert_eq!(events.call(1, "connect", json!({})).await["error"]["code"], "token_invalid");
    assert_eq!(
        post_json(&server, "/api/v1/logout", &cookie, &json!({})).await.status,
        200,
        "it is logged out either way"
    );
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_claims_to_have_come_by_tls_is_none_without() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let cookie = cookie(&log_in(&server, "anna", PASSWORD).await);
    let secure = cookie.replace("posthouse-plain=", "__Host-posthouse=");
    let events = RawEvents::open_with(server.address(), &secure).await;
    assert_eq!(events.call(1, "connect", json!({})).await["error"]["code"], "token_invalid");
    let events = RawEvents::open_with(server.address(), "Cookie: posthouse-plain=\r\nCookie: other=1\r\n").await;
    assert_eq!(events.call(1, "connect", json!({})).await["error"]["code"], "token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_password_gets_the_same_answer_as_for_a_name_that_nobody_has() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let (wrong, unknown) =
        (log_in(&server, "anna", "wrong horse").await, log_in(&server, "nobody", "wrong horse").await);
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    for bad in [
        json!({"username": "anna"}),
        json!([]),
        json!(["anna", PASSWORD, "browser"]),
        json!({"username": "anna", "password": PASSWORD, "device": ""}),
    ] {
        assert_eq!(post_json(&server, "/api/v1/login", "", &bad).await.status, 400, "{bad}");
    }
    let long = post_json(&server, "/api/v1/login", "", &json!({"username": "x".repeat(5_000)})).await;
    assert_eq!(long.status, 413);
    let form = post(server.address(), "/api/v1/login", "Connection: close\r\n", b"username=anna").await;
    assert_eq!(form.status, 415, "a form of another page could send that");
}

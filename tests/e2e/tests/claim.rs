//! Taking ownership of a new box: what it serves before, who gets it, what a wrong code costs, what the owner is given.

use posthouse_e2e::http::{Answer, ask, post};
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::wait::until;
use posthouse_e2e::{Appliance, Device, PASSWORD, Server, Site};
use posthouse_protocol::appliance::{Language, Ownership, Settings};
use posthouse_protocol::claim::ClaimCode;
use posthouse_protocol::{AccountRole, AccountsMe, Empty, Token, limits};
use serde_json::{Value, json};

/// Sends the claim page's form.
async fn claim_by_form(server: &Server, code: &str, username: &str, more: &str) -> Answer {
    let pairs = [("code", code), ("username", username), ("password", PASSWORD), ("again", PASSWORD)];
    let form: String = pairs.map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).join("&");
    let headers = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n";
    post(server.address(), "/claim?lang=en", headers, format!("{form}{more}").as_bytes()).await
}

async fn get(server: &Server, path: &str, headers: &str) -> Answer {
    let address = server.address();
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").as_bytes())
        .await
}

async fn post_json(server: &Server, path: &str, body: &Value) -> Answer {
    let headers = "Content-Type: application/json\r\nConnection: close\r\n";
    post(server.address(), path, headers, body.to_string().as_bytes()).await
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclaimed_box_serves_its_claim_page_and_its_health_and_no_session() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    assert_eq!(get(&server, "/healthz", "").await.status, 200);
    let found = get(&server, "/", "").await;
    assert_eq!((found.status, found.header("location")), (303, Some("/claim")));
    let page = get(&server, "/claim", "Accept-Language: en\r\n").await;
    assert!(page.status == 200 && text(&page).contains("<h1>Make this box yours</h1>"), "{page:?}");
    assert!(!text(&page).contains(&appliance.code()), "the code is told to nobody on the network");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, headers) in [("/ws", upgrade), ("/api/v1/events", "")] {
        let refused = get(&server, path, headers).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("unclaimed")), "{path}");
    }
    let login = json!({"username": "anna", "password": PASSWORD, "device": "test"});
    for (path, body) in
        [("/api/v1/rpc", json!({"id": 1, "method": "login", "params": login})), ("/api/v1/login", login)]
    {
        let refused = post_json(&server, path, &body).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("unclaimed")), "{path}");
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_makes_an_owner_who_gets_a_sheet_and_the_box_opens_without_a_restart() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let status = appliance.status_when(|status| matches!(status.ownership, Ownership::Unclaimed { .. }));
    assert_eq!((status.clients, status.version.as_str()), (0, env!("CARGO_PKG_VERSION")));
    let typed = appliance.code().to_lowercase().replace('-', " ");
    let sheet = claim_by_form(&server, &typed, "Anna", "").await;
    assert_eq!(sheet.status, 200, "{}", text(&sheet));
    let key = text(&sheet)
        .split("Backup key</dt><dd class=\"key\">")
        .nth(1)
        .expect("the key")
        .split('<')
        .next()
        .map(str::len);
    assert_eq!(key, Some(39), "160 bits in groups of four: {}", text(&sheet));
    assert!(text(&sheet).contains(&format!("http://{}", server.address())));
    let cookie = sheet.header("set-cookie").expect("the browser is logged in");
    let token = cookie.strip_prefix("posthouse-plain=").and_then(|rest| rest.split(';').next()).expect("a token");
    let anna = Device::connect(&server.url(), Token(token.to_owned())).await;
    let me = anna.client.call::<AccountsMe>(&Empty {}).await.expect("it is an account");
    assert_eq!((me.username.as_str(), me.role), ("anna", AccountRole::Owner));
    let status = appliance.status_when(|status| status.clients == 1);
    assert_eq!(status.ownership, Ownership::Claimed { owner: "anna".to_owned() });

    let again = claim_by_form(&server, &typed, "eve", "").await;
    assert_eq!(again.status, 409, "{}", text(&again));
    assert_eq!(get(&server, "/claim", "").await.status, 303);
    drop(anna);
    server.kill();
    let server = appliance.start(&Settings::default());
    assert_eq!(appliance.status_when(|_| true).ownership, Ownership::Claimed { owner: "anna".to_owned() });
    Device::log_in(&server.url(), "anna").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_claim_at_once_exactly_one_gets_the_box() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let code = appliance.code();
    let (one, other) =
        tokio::join!(claim_by_form(&server, &code, "anna", ""), claim_by_form(&server, &code, "ben", ""));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let winner = if one.status == 200 { "anna" } else { "ben" };
    let status = appliance.status_when(|status| matches!(status.ownership, Ownership::Claimed { .. }));
    assert_eq!(status.ownership, Ownership::Claimed { owner: winner.to_owned() });
    assert!(text(&if one.status == 409 { one } else { other }).contains("Somebody else has just claimed this box."));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_lock_also_for_the_right_one_and_say_for_how_long() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    // What can't be meant costs no try.
    for _ in 0..limits::ADDRESS_CODES_WRONG_MAX {
        assert_eq!(claim_by_form(&server, "AAAA-BBBB-CCCC", "-anna-", "").await.status, 400);
        assert_eq!(claim_by_form(&server, "AAAA-BBBB-CCCC", "anna", "x").await.status, 400, "two different passwords");
    }
    for _ in 0..limits::ADDRESS_CODES_WRONG_MAX {
        let wrong = claim_by_form(&server, "AAAA-BBBB-CCCC", "anna", "").await;
        assert_eq!(wrong.status, 403);
        assert!(
            text(&wrong).contains("This is not the code that the box shows now.")
                && text(&wrong).contains("value=\"anna\"")
        );
        assert!(!text(&wrong).contains(PASSWORD));
    }
    let locked = claim_by_form(&server, &appliance.code(), "anna", "").await;
    assert_eq!(locked.status, 429);
    let wait: u64 = locked.header("retry-after").and_then(|wait| wait.parse().ok()).expect("how long");
    assert!((1..=60).contains(&wait) && text(&locked).contains("Wait 1 minutes"), "{locked:?}");
    assert!(matches!(appliance.status_when(|_| true).ownership, Ownership::Unclaimed { .. }));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_own_code_is_good_until_it_is_used_and_never_again() {
    let settings = Settings { claim_code: Some("tea house 2026".to_owned()), ..Settings::default() };
    let appliance = Appliance::new();
    let server = appliance.start(&settings);
    server.kill();
    let server = appliance.start(&settings);
    assert_eq!(claim_by_form(&server, "TEA-HOUSE-2026", "anna", "").await.status, 200);
    server.kill();
    let server = appliance.start(&settings);
    assert_eq!(claim_by_form(&server, "TEA-HOUSE-2026", "eve", "").await.status, 409);

    let short = Settings { claim_code: Some("tea-1".to_owned()), ..Settings::default() };
    let appliance = Appliance::new();
    let server = appliance.start(&short);
    assert_eq!(claim_by_form(&server, "tea1", "anna", "").await.status, 403, "four characters can be guessed");
    assert_eq!(claim_by_form(&server, &appliance.code(), "anna", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_that_stood_on_the_card_is_good_after_the_box_was_off_and_gone_once_it_was_used() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let before = appliance.code();
    server.kill();
    let server = appliance.start(&Settings::default());
    assert_eq!(appliance.code(), before);
    let kept = appliance.site.data_dir().join("claim-code");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).expect("it is kept").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(claim_by_form(&server, &before, "anna", "").await.status, 200);
    until("forgotten code", || (!kept.exists()).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_claims_by_a_proof_that_serves_nobody_else() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let code = ClaimCode::typed(&appliance.code());
    let challenge = get(&server, "/claim/challenge", "").await.json();
    assert_eq!(challenge["claimed"], false);
    let nonce = challenge["nonce"].as_str().expect("a nonce");
    let foreign = json!({"nonce": "0123456789abcdef0123456789abcdef-0123456789abcdef0123456789abcdef", "proof": code.proof(None, nonce)});
    assert_eq!(post_json(&server, "/claim/proof", &foreign).await.status, 400, "a nonce of nobody's");
    let wrong = json!({"nonce": nonce, "proof": ClaimCode::typed("AAAABBBBCCCC").proof(None, nonce)});
    assert_eq!(post_json(&server, "/claim/proof", &wrong).await.json()["error"]["code"], "code_wrong");
    let proof = json!({"nonce": nonce, "proof": code.proof(None, nonce)});
    let answer = post_json(&server, "/claim/proof", &proof).await.json();
    assert!(code.is_answer(answer["answer"].as_str().expect("an answer"), None, nonce));
    let mut claim = proof.clone();
    claim["username"] = "anna".into();
    claim["device"] = "test".into();
    claim["password"] = "short".into();
    let refused = post_json(&server, "/claim", &claim).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("invalid_params")));
    claim["password"] = PASSWORD.into();
    claim["clock_ms"] = 1_790_000_000_000_u64.into();
    let claimed = post_json(&server, "/claim", &claim).await.json();
    assert_eq!(
        (&claimed["account"]["username"], claimed["sheet"]["backup_key"].as_str().map(str::len)),
        (&json!("anna"), Some(39))
    );
    let token = Token(claimed["token"].as_str().expect("a token").to_owned());
    Device::connect(&server.url(), token).await;
    let (again, proof) = (post_json(&server, "/claim", &claim).await, post_json(&server, "/claim/proof", &proof).await);
    assert_eq!([again.status, proof.status], [409, 409]);
    // Nobody has set this machine's clock, as far as its files say, unless timesyncd runs here.
    let asked_for = std::fs::read_to_string(appliance.site.path("clock-request")).ok();
    let is_set = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    assert_eq!(asked_for.as_deref(), (!is_set).then_some("1790000000000\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_in_the_readers_language_and_say_what_is_wrong_with_the_card() {
    let problems = vec!["posthouse.toml, line 3: <wlan> is no key".to_owned()];
    let settings = Settings {
        language: Language::Chinese,
        problems,
        site_name: Some("茶馆 & Co".to_owned()),
        ..Settings::default()
    };
    let appliance = Appliance::new();
    let server = appliance.start(&settings);
    let page = text(&get(&server, "/claim", "").await);
    assert!(page.contains("<html lang=\"zh\">") && page.contains("把这台设备归你所有"), "{page}");
    assert!(page.contains("line 3: &lt;wlan&gt; is no key") && page.contains("茶馆 &amp; Co"), "{page}");
    let page = text(&get(&server, "/claim", "Accept-Language: en-GB, zh;q=0.5\r\n").await);
    assert!(page.contains("<html lang=\"en\">") && page.contains("Something is wrong with the files"), "{page}");
    let warnings = appliance.status_when(|_| true).warnings;
    assert!(warnings.iter().any(|warning| warning.contains("line 3")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_made_on_the_machine_claims_the_box_and_a_member_does_not() {
    let site = Site::new();
    let server = site.start();
    let admin = |name: &str, role| {
        let username = posthouse_protocol::Username::new(name).expect("a name");
        let params = posthouse_protocol::admin::AccountAddParams { username, password: PASSWORD.to_owned(), role };
        posthouse_client::admin::Admin::open(server.admin_socket())
            .expect("it answers")
            .add_account(&params)
            .expect("made")
    };
    admin("ben", Some(AccountRole::Member));
    assert_eq!(get(&server, "/api/v1/events", "").await.status, 403);
    admin("anna", None);
    Device::log_in(&server.url(), "ben").await;
    assert_eq!(claim_by_form(&server, "AAAA-BBBB-CCCC", "eve", "").await.status, 409);
}

#[test]
fn the_command_claims_a_box_prints_the_sheet_and_is_logged_in() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let terminal = Terminal::new(appliance.site.path("anna"));
    let url = server.url().to_string();
    let claim = |code: &str, password: &str| {
        let arguments = ["claim", "--server", &url, "--code", code, "--password-stdin", "anna"];
        terminal.run_with_input(&arguments, password)
    };
    let wrong = claim("AAAA-BBBB-CCCC", PASSWORD).refused(1);
    assert_eq!(
        wrong,
        format!("posthouse: the box at {url} was not claimed: this is not the code that the box shows now")
    );
    let short = claim(&appliance.code(), "short").refused(1);
    assert!(short.contains("8 characters or more"), "{short}");
    let early = terminal.run_with_input(&["login", "--server", &url, "--password-stdin", "anna"], PASSWORD).refused(1);
    assert!(early.contains("posthouse claim"), "{early}");
    let sheet = claim(&appliance.code(), PASSWORD).ok();
    for line in ["Owner        anna", &format!("Address      {url}"), "Backup key   "] {
        assert!(sheet.contains(line), "{sheet}");
    }
    assert!(terminal.run(&["account", "me"]).ok().starts_with("anna"), "it is logged in");
    let again = claim("AAAA-BBBB-CCCC", PASSWORD).refused(1);
    assert!(again.contains("has an owner already"), "{again}");
    let nobody = terminal.run(&["claim", "--server", "http://127.0.0.1:1", "--code", "x", "anna"]).refused(1);
    assert!(nobody.contains("cannot reach http://127.0.0.1:1"), "{nobody}");
    server.assert_undisturbed();
}

//! Accounts: who may do what with them, and what becomes of their devices.

use posthouse_client::{Client, ClientError, Item, Link, Start};
use posthouse_e2e::raw::{End, RawSocket};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, PASSWORD, Server, Site, refusal};
use posthouse_protocol::{
    AccountId, AccountParams, AccountRole, AccountStatus, AccountsCreate, AccountsCreateParams, AccountsDepart,
    AccountsDisable, AccountsEnable, AccountsGet, AccountsGetParams, AccountsMe, AccountsReset, AccountsResetParams,
    AccountsRole, AccountsRoleParams, AccountsSearch, AccountsSearchParams, AccountsSignOut, AccountsUpdate,
    AccountsUpdateParams, Connect, ConnectParams, ConversationsDirect, ConversationsDirectParams, DevicesList,
    DevicesRevoke, DevicesRevokeParams, DisplayName, Empty, ErrorBody, ErrorCode, Event, Login, LoginParams, Logout,
    Method, Password, PasswordChange, PasswordChangeParams, Profile, Push, Token, Username,
};
use serde_json::json;

async fn call<M: Method>(device: &Device, params: M::Params) -> M::Result {
    within("answer", device.client.call::<M>(&params)).await.unwrap_or_else(|error| panic!("{}: {error}", M::NAME))
}

async fn refused<M: Method>(device: &Device, params: M::Params) -> ErrorCode
where
    M::Result: std::fmt::Debug,
{
    refusal(within("answer", device.client.call::<M>(&params)).await).code
}

fn whom(account_id: AccountId) -> AccountParams {
    AccountParams { account_id }
}

async fn log_in(server: &Server, name: &str, password: &str) -> Result<Token, ErrorBody> {
    let (client, _) = Client::open(&server.url()).await.expect("the server");
    let username = Username::new(name).expect("a name");
    let params = LoginParams { username, password: password.to_owned(), device: "test".to_owned() };
    match within("answer", client.call::<Login>(&params)).await {
        Ok(result) => Ok(result.token),
        Err(ClientError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Connects by hand, for the close code.
async fn raw(server: &Server, token: &Token) -> RawSocket {
    let mut socket = RawSocket::open(server.address()).await;
    let answer = socket.call(1, "connect", json!({ "token": token })).await;
    assert!(answer["result"].is_object(), "{answer}");
    socket
}

async fn token_is_void(server: &Server, token: &Token) {
    let (client, _) = Client::open(&server.url()).await.expect("the server");
    let params = ConnectParams { token: Some(token.clone()), resume: None };
    let error = refusal(within("answer", client.call::<Connect>(&params)).await);
    assert_eq!(error.code, ErrorCode::TokenInvalid);
}

async fn profile(device: &Device, name: &str) -> Profile {
    let username = Some(Username::new(name).expect("a name"));
    call::<AccountsGet>(device, AccountsGetParams { account_id: None, username }).await
}

async fn next_profile(device: &mut Device) -> Profile {
    match within("event", device.events.next()).await {
        Some(Push { event: Event::AccountUpdated(profile), cursor: Some(_) }) => profile,
        other => panic!("another event was expected than {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_account_of_the_machines_administrator_is_the_owner_and_a_change_is_told_to_everybody() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    assert_eq!(call::<AccountsMe>(&anna, Empty {}).await.role, AccountRole::Owner);
    assert_eq!(call::<AccountsMe>(&ben, Empty {}).await.role, AccountRole::Member);

    let display_name = Some(DisplayName::new("Anna 王 Berg").expect("a name"));
    let params = AccountsUpdateParams { display_name: display_name.clone() };
    let changed = call::<AccountsUpdate>(&anna, params.clone()).await;
    assert_eq!(changed.display_name, display_name);
    assert_eq!(next_profile(&mut ben).await, changed);
    // The same again changes nothing: the next event is another one's.
    call::<AccountsUpdate>(&anna, params).await;
    let role = AccountsRoleParams { account_id: ben.account.account_id, role: AccountRole::Administrator };
    let raised = call::<AccountsRole>(&anna, role).await;
    assert_eq!(next_profile(&mut ben).await, raised);

    drop((anna, ben));
    server.kill();
    let server = site.start();
    let anna = Device::log_in(&server.url(), "anna").await;
    assert_eq!(call::<AccountsMe>(&anna, Empty {}).await, changed);
    assert_eq!(profile(&anna, "ben").await, raised);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_found_by_the_beginnings_of_their_names_page_by_page_each_once() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "anton", "annabel", "王小明"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    for (device, name) in [(&anna, "Anna Annabella Berg"), (&ben, "Benjamin ANTON 李")] {
        let display_name = Some(DisplayName::new(name).expect("a name"));
        call::<AccountsUpdate>(device, AccountsUpdateParams { display_name }).await;
    }
    let search = async |query: &str, limit: u32| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let params = AccountsSearchParams { query: query.to_owned(), after, limit: Some(limit) };
            let page = call::<AccountsSearch>(&ben, params).await;
            assert!(page.accounts.len() <= limit as usize);
            names.extend(page.accounts.into_iter().map(|account| account.username.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };
    for limit in [1, 2, 100] {
        assert_eq!(search("An", limit).await, ["anna", "annabel", "ben", "anton"], "by {limit}");
        assert_eq!(search("", limit).await.len(), 5, "by {limit}");
        assert_eq!(search("王", limit).await, ["王小明"]);
        assert_eq!(search("李", limit).await, ["ben"]);
        assert_eq!(search("anna b", limit).await, Vec::<String>::new());
    }
    let params = AccountsSearchParams { query: "x".repeat(65), after: None, limit: None };
    assert_eq!(refused::<AccountsSearch>(&ben, params).await, ErrorCode::InvalidParams);
    // A name that is no more is not found any more.
    let display_name = Some(DisplayName::new("Ben").expect("a name"));
    call::<AccountsUpdate>(&ben, AccountsUpdateParams { display_name }).await;
    assert_eq!(search("anton", 100).await, ["anton"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_accounts_connections_are_closed_and_its_token_is_refused_for_good() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let token = log_in(&server, "ben", PASSWORD).await.expect("a token");
    let mut live = [raw(&server, &token).await, raw(&server, &token).await];
    let (_link, mut inbox) = Link::start(server.url(), token.clone(), Start::Now);
    assert!(matches!(within("item", inbox.next()).await, Some(Item::Online)));

    let ben = profile(&anna, "ben").await.account_id;
    assert_eq!(call::<AccountsDisable>(&anna, whom(ben)).await.status, AccountStatus::Disabled);
    for socket in &mut live {
        assert_eq!(socket.end().await, End::Close(4001));
    }
    loop {
        match within("item", inbox.next()).await {
            Some(Item::LoggedOut) => break,
            Some(Item::Offline { .. } | Item::Event(_)) => {}
            other => panic!("the link was not logged out: {other:?}"),
        }
    }
    token_is_void(&server, &token).await;
    assert_eq!(log_in(&server, "ben", PASSWORD).await.expect_err("disabled").code, ErrorCode::AccountDisabled);
    // The wrong password tells nothing.
    assert_eq!(log_in(&server, "ben", "wrong password").await.expect_err("wrong").code, ErrorCode::LoginFailed);

    server.kill();
    let server = site.start();
    token_is_void(&server, &token).await;
    let anna = Device::connect(&server.url(), anna.token).await;
    assert_eq!(call::<AccountsEnable>(&anna, whom(ben)).await.status, AccountStatus::Active);
    token_is_void(&server, &token).await;
    let again = log_in(&server, "ben", PASSWORD).await.expect("enabled");
    raw(&server, &again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_and_revoked_one_by_one_and_together() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let tokens = [log_in(&server, "anna", PASSWORD).await, log_in(&server, "anna", PASSWORD).await];
    let tokens = tokens.map(|token| token.expect("a token"));
    let mut live = [raw(&server, &tokens[0]).await, raw(&server, &tokens[1]).await];
    let ben = Device::log_in(&server.url(), "ben").await;

    let devices = call::<DevicesList>(&anna, Empty {}).await.devices;
    assert_eq!(devices.iter().map(|device| device.is_current).collect::<Vec<_>>(), [true, false, false]);
    let one = DevicesRevokeParams { device_id: Some(devices[1].device_id), others: false };
    assert_eq!(refused::<DevicesRevoke>(&ben, one.clone()).await, ErrorCode::NotFound, "it is another's");
    call::<DevicesRevoke>(&anna, one.clone()).await;
    assert_eq!(live[0].end().await, End::Close(4001));
    assert_eq!(refused::<DevicesRevoke>(&anna, one).await, ErrorCode::NotFound, "it is gone");
    token_is_void(&server, &tokens[0]).await;
    let pong = live[1].call(2, "ping", json!({})).await;
    assert!(pong["result"].is_object(), "the other device stays: {pong}");

    call::<DevicesRevoke>(&anna, DevicesRevokeParams { device_id: None, others: true }).await;
    assert_eq!(live[1].end().await, End::Close(4001));
    assert_eq!(call::<DevicesList>(&anna, Empty {}).await.devices.len(), 1);
    for bad in
        [DevicesRevokeParams::default(), DevicesRevokeParams { device_id: Some(devices[0].device_id), others: true }]
    {
        assert_eq!(refused::<DevicesRevoke>(&anna, bad).await, ErrorCode::InvalidParams);
    }

    call::<Logout>(&anna, Empty {}).await;
    token_is_void(&server, &anna.token).await;
    server.stop();
    let server = site.start();
    for token in tokens.iter().chain([&anna.token]) {
        token_is_void(&server, token).await;
    }
    Device::connect(&server.url(), ben.token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_initial_password_has_to_be_changed_before_the_first_log_in() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let params = AccountsCreateParams {
        username: Username::new("dora").expect("a name"),
        display_name: None,
        role: None,
        password: None,
        keep_password: false,
    };
    let made = call::<AccountsCreate>(&anna, params.clone()).await;
    let initial = made.password.expect("it was made up").0;
    assert_eq!(refused::<AccountsCreate>(&anna, params).await, ErrorCode::AlreadyExists);
    assert_eq!(log_in(&server, "dora", &initial).await.expect_err("initial").code, ErrorCode::PasswordChangeRequired);
    let change = async |password: &str, new_password: &str| {
        let (client, _) = Client::open(&server.url()).await.expect("the server");
        let username = Username::new("dora").expect("a name");
        let [password, new_password] = [password, new_password].map(|text| Password(text.to_owned()));
        let params = PasswordChangeParams { username, password, new_password };
        match within("answer", client.call::<PasswordChange>(&params)).await {
            Ok(Empty {}) => None,
            Err(ClientError::Refused(error)) => Some(error.code),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(change("wrong password", PASSWORD).await, Some(ErrorCode::LoginFailed));
    assert_eq!(change(&initial, "short").await, Some(ErrorCode::InvalidParams));
    assert_eq!(change(&initial, &initial).await, Some(ErrorCode::InvalidParams));
    assert_eq!(change(&initial, PASSWORD).await, None);
    assert_eq!(log_in(&server, "dora", &initial).await.expect_err("changed").code, ErrorCode::LoginFailed);
    let token = log_in(&server, "dora", PASSWORD).await.expect("a token");

    let mut live = raw(&server, &token).await;
    let params =
        AccountsResetParams { account_id: made.account.account_id, password: Some(Password("only today".into())) };
    assert_eq!(call::<AccountsReset>(&anna, params).await.password, None, "what was given is not shown");
    assert_eq!(live.end().await, End::Close(4001));
    token_is_void(&server, &token).await;
    assert_eq!(log_in(&server, "dora", PASSWORD).await.expect_err("reset").code, ErrorCode::LoginFailed);
    assert_eq!(change("only today", "correct again").await, None);
    log_in(&server, "dora", "correct again").await.expect("a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_departs_is_marked_and_signed_out_and_what_they_wrote_stays() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation = ben.direct("anna").await;
    ben.send(conversation, "goodbye").await;
    anna.next_message().await;
    let mut live = raw(&server, &ben.token).await;
    let carl = Device::log_in(&server.url(), "carl").await;

    let gone = call::<AccountsDepart>(&anna, whom(ben.account.account_id)).await;
    assert_eq!((gone.status, gone.role), (AccountStatus::Departed, AccountRole::Member));
    assert_eq!(next_profile(&mut anna).await, gone);
    assert_eq!(live.end().await, End::Close(4001));
    token_is_void(&server, &ben.token).await;
    assert_eq!(log_in(&server, "ben", PASSWORD).await.expect_err("departed").code, ErrorCode::LoginFailed);
    assert_eq!(anna.history(conversation).await[0].text(), Some("goodbye"));
    let query = AccountsSearchParams { query: "ben".to_owned(), after: None, limit: None };
    assert!(call::<AccountsSearch>(&anna, query).await.accounts.is_empty());
    // There is nothing to be done any more with such an account, and nothing to be told to it that is not said already.
    assert_eq!(anna.direct("ben").await, conversation);
    let direct = ConversationsDirectParams { username: Username::new("ben").expect("a name") };
    assert_eq!(refused::<ConversationsDirect>(&carl, direct).await, ErrorCode::NotFound);
    assert_eq!(refused::<AccountsEnable>(&anna, whom(gone.account_id)).await, ErrorCode::NotFound);
    server.stop();
    let server = site.start();
    let anna = Device::connect(&server.url(), anna.token).await;
    assert_eq!(profile(&anna, "ben").await, gone);
    assert_eq!(anna.history(conversation).await[0].text(), Some("goodbye"));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_administrators_and_owners_may_what_their_role_allows_and_nothing_else() {
    let (_site, server) = Site::with_accounts(&["anna", "adam", "alma", "ben", "carl"]);
    let owner = Device::log_in(&server.url(), "anna").await;
    let admin = Device::log_in(&server.url(), "adam").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut ids = Vec::new();
    for name in ["anna", "adam", "alma", "carl"] {
        ids.push(profile(&owner, name).await.account_id);
    }
    for account_id in &ids[1..3] {
        let params = AccountsRoleParams { account_id: *account_id, role: AccountRole::Administrator };
        call::<AccountsRole>(&owner, params).await;
    }
    let nobody = AccountId(4711);
    let outcomes = async |device: &Device, account_id: AccountId| {
        let mut codes = Vec::new();
        let role = AccountsRoleParams { account_id, role: AccountRole::Owner };
        codes.push(refused::<AccountsRole>(device, role).await);
        codes.push(refused::<AccountsReset>(device, AccountsResetParams { account_id, password: None }).await);
        codes.push(refused::<AccountsDisable>(device, whom(account_id)).await);
        codes.push(refused::<AccountsEnable>(device, whom(account_id)).await);
        codes.push(refused::<AccountsDepart>(device, whom(account_id)).await);
        codes.push(refused::<AccountsSignOut>(device, whom(account_id)).await);
        codes.push(refused::<posthouse_protocol::AccountsDevices>(device, whom(account_id)).await);
        codes
    };
    for id in ids.iter().copied().chain([nobody]) {
        assert_eq!(outcomes(&ben, id).await, [ErrorCode::Forbidden; 7], "a member on {id}");
    }
    for id in [ids[0], ids[2]] {
        assert_eq!(outcomes(&admin, id).await, [ErrorCode::Forbidden; 7], "an administrator on {id}");
    }
    for (device, role) in
        [(&ben, AccountRole::Member), (&admin, AccountRole::Administrator), (&admin, AccountRole::Owner)]
    {
        let params = AccountsCreateParams {
            username: Username::new("new").expect("a name"),
            display_name: None,
            role: Some(role),
            password: None,
            keep_password: false,
        };
        assert_eq!(refused::<AccountsCreate>(device, params).await, ErrorCode::Forbidden, "{role:?}");
    }
    // An administrator looks after members, and an owner after everybody.
    let carl = ids[3];
    call::<AccountsDisable>(&admin, whom(carl)).await;
    call::<AccountsEnable>(&admin, whom(carl)).await;
    call::<AccountsDisable>(&owner, whom(ids[2])).await;
    assert_eq!(refused::<AccountsDisable>(&owner, whom(nobody)).await, ErrorCode::NotFound);
    // The only owner stays one.
    assert_eq!(refused::<AccountsDisable>(&owner, whom(ids[0])).await, ErrorCode::Forbidden);
    assert_eq!(refused::<AccountsDepart>(&owner, whom(ids[0])).await, ErrorCode::Forbidden);
    let step_down = AccountsRoleParams { account_id: ids[0], role: AccountRole::Member };
    assert_eq!(refused::<AccountsRole>(&owner, step_down.clone()).await, ErrorCode::Forbidden);
    call::<AccountsRole>(&owner, AccountsRoleParams { account_id: ids[1], role: AccountRole::Owner }).await;
    assert_eq!(call::<AccountsRole>(&owner, step_down).await.role, AccountRole::Member);
    assert_eq!(refused::<AccountsDisable>(&owner, whom(carl)).await, ErrorCode::Forbidden);
}

//! An owner who has forgotten the password, a card that asks to let them in again, and a code that does only that.

use posthouse_e2e::http::{Answer, post};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Appliance, Device, PASSWORD, Server, refusal};
use posthouse_protocol::appliance::{Ownership, Settings};
use posthouse_protocol::{
    AccountRole, AccountsCreate, AccountsCreateParams, Cursor, ErrorCode, Event, Login, LoginParams, Password, Sync,
    SyncParams, Username,
};

const NEW_PASSWORD: &str = "another horse";

async fn recover(server: &Server, code: &str, password: &str) -> Answer {
    let form = format!("code={code}&password={}&again={}", password.replace(' ', "+"), password.replace(' ', "+"));
    let headers = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n";
    post(server.address(), "/recover?lang=en", headers, form.as_bytes()).await
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("a text")
}

fn name(name: &str) -> Username {
    Username::new(name).expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_resets_the_owners_password_and_devices_once_and_administrators_are_told() {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    server.add_account("anna");
    let anna = Device::log_in(&server.url(), "anna").await;
    for (username, role) in [("ida", AccountRole::Administrator), ("max", AccountRole::Member)] {
        let params = AccountsCreateParams {
            username: name(username),
            display_name: None,
            role: Some(role),
            password: Some(Password(PASSWORD.to_owned())),
            keep_password: true,
        };
        anna.client.call::<AccountsCreate>(&params).await.expect("made");
    }
    assert_eq!(recover(&server, "AAAA-BBBB-CCCC", NEW_PASSWORD).await.status, 404, "nobody has asked for it");
    drop(anna);
    server.kill();

    let asked = Settings { recover_owner: true, ..Settings::default() };
    let server = appliance.start(&asked);
    let status = appliance.status_when(|_| true);
    let Ownership::Recovering { owner, code } = status.ownership else { panic!("{:?}", status.ownership) };
    assert_eq!(owner, "anna");
    server.kill();
    let server = appliance.start(&asked);
    assert_eq!(appliance.code(), code, "it was read on the card, for which the box was off");

    let mut anna = Device::log_in(&server.url(), "anna").await;
    let mut ida = Device::log_in(&server.url(), "ida").await;
    let max = Device::log_in(&server.url(), "max").await;
    let page = server.get("/recover?lang=en");
    assert!(page.contains("A new password for anna") && !page.contains(&code), "{page}");
    let wrong = recover(&server, "AAAA-BBBB-CCCC", NEW_PASSWORD).await;
    assert!(wrong.status == 403 && text(&wrong).contains("This is not the code"), "{wrong:?}");
    assert_eq!(recover(&server, &code, "short").await.status, 400);
    let done = recover(&server, &code, NEW_PASSWORD).await;
    assert!(done.status == 200 && text(&done).contains("The password is set"), "{}", text(&done));

    assert!(within("end of the owner's session", anna.events.next()).await.is_none());
    match ida.next_event().await {
        Event::OwnerRecovered(recovered) => assert_eq!(recovered.account.username, name("anna")),
        other => panic!("{other:?}"),
    }
    let everything = SyncParams { cursor: Cursor("0".to_owned()), until: None, limit: None };
    let told = async |device: &Device| {
        let page = device.client.call::<Sync>(&everything).await.expect("a page");
        page.events.iter().filter(|event| event.get().contains("owner_recovered")).count()
    };
    assert_eq!((told(&ida).await, told(&max).await), (1, 0), "who administers finds it later, too, and nobody else");

    let (client, _events) = posthouse_client::Client::open(&server.url()).await.expect("it answers");
    let log_in = async |password: &str| {
        let params = LoginParams { username: name("anna"), password: password.to_owned(), device: "test".to_owned() };
        client.call::<Login>(&params).await
    };
    assert_eq!(refusal(log_in(PASSWORD).await).code, ErrorCode::LoginFailed);
    log_in(NEW_PASSWORD).await.expect("the new password");

    assert_eq!(recover(&server, &code, PASSWORD).await.status, 404, "it serves once");
    drop((anna, ida, max, client));
    server.kill();
    let server = appliance.start(&asked);
    assert_eq!(
        appliance.status_when(|_| true).ownership,
        Ownership::Claimed { owner: "anna".to_owned() },
        "the file still lies there"
    );
    server.kill();
    appliance.start(&Settings::default()).kill();
    let _server = appliance.start(&asked);
    assert_ne!(appliance.code(), code, "the card asks anew");
}

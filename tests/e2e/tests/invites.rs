//! Invites and imports: how many people get their accounts.

use std::time::Duration;

use posthouse_client::{Client, ClientError};
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::wait::{BOUND, within};
use posthouse_e2e::{Device, PASSWORD, Server, Site, refusal};
use posthouse_protocol::{
    AccountParams, AccountRole, AccountsDisable, AccountsImport, AccountsImportParams, AccountsRole,
    AccountsRoleParams, ErrorCode, InviteCode, InvitesAccept, InvitesAcceptParams, InvitesCreate, InvitesCreateParams,
    InvitesList, InvitesListParams, InvitesRevoke, InvitesRevokeParams, LoginResult, Password, Username,
};

async fn create(device: &Device, expires_in_s: Option<u64>, uses: Option<u32>) -> (InviteCode, InvitesRevokeParams) {
    let made = device.client.call::<InvitesCreate>(&InvitesCreateParams { expires_in_s, uses }).await;
    let made = made.expect("an invite");
    (made.code, InvitesRevokeParams { invite_id: made.invite.invite_id })
}

async fn accept(server: &Server, code: &InviteCode, name: &str) -> Result<LoginResult, ClientError> {
    let (client, _) = Client::open(&server.url()).await.expect("the server");
    let params = InvitesAcceptParams {
        code: code.clone(),
        username: Username::new(name).expect("a name"),
        display_name: None,
        password: Password(PASSWORD.to_owned()),
        device: "test".to_owned(),
    };
    within("answer", client.call::<InvitesAccept>(&params)).await
}

async fn open_invites(device: &Device) -> Vec<u32> {
    let list = device.client.call::<InvitesList>(&InvitesListParams::default()).await.expect("the list");
    list.invites.iter().map(|invite| invite.uses_left).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_makes_as_many_accounts_as_it_may_and_logs_them_in() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let (code, _) = create(&anna, None, Some(2)).await;
    let stored = [site.database()].map(|path| std::fs::read(path).expect("the database"));
    assert!(!stored.iter().any(|file| file.windows(code.0.len()).any(|part| part == code.0.as_bytes())));

    let first = accept(&server, &code, "emil").await.expect("an account");
    Device::connect(&server.url(), first.token).await;
    assert_eq!(refusal(accept(&server, &code, "emil").await).code, ErrorCode::AlreadyExists);
    assert_eq!(open_invites(&anna).await, [1]);
    server.kill();
    let server = site.start();
    let anna = Device::connect(&server.url(), anna.token).await;
    assert_eq!(open_invites(&anna).await, [1]);
    accept(&server, &InviteCode(code.0.to_uppercase().replace('-', " ")), "frida").await.expect("an account");
    assert_eq!(open_invites(&anna).await, [0; 0]);
    assert_eq!(refusal(accept(&server, &code, "greta").await).code, ErrorCode::InviteInvalid);
    // As was said of a code that never was.
    assert_eq!(refusal(accept(&server, &InviteCode("abcd".into()), "greta").await).code, ErrorCode::InviteInvalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_revoked_invite_and_one_of_a_member_are_refused() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let (short, _) = create(&anna, Some(1), None).await;
    let (revoked, invite) = create(&anna, None, None).await;
    anna.client.call::<InvitesRevoke>(&invite).await.expect("revoked");
    assert_eq!(refusal(anna.client.call::<InvitesRevoke>(&invite).await).code, ErrorCode::NotFound);
    assert_eq!(refusal(accept(&server, &revoked, "emil").await).code, ErrorCode::InviteInvalid);
    let expired = async {
        while !open_invites(&anna).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, expired).await.expect("it expires");
    assert_eq!(refusal(accept(&server, &short, "emil").await).code, ErrorCode::InviteInvalid);

    let ben = Device::log_in(&server.url(), "ben").await;
    let params = InvitesCreateParams::default();
    assert_eq!(refusal(ben.client.call::<InvitesCreate>(&params).await).code, ErrorCode::Forbidden);
    assert_eq!(refusal(ben.client.call::<InvitesRevoke>(&invite).await).code, ErrorCode::Forbidden);
    assert_eq!(refusal(ben.client.call::<InvitesList>(&Default::default()).await).code, ErrorCode::Forbidden);
    let csv = "username\nemil\n".to_owned();
    let params = AccountsImportParams { csv, first_line: None, dry_run: true };
    assert_eq!(refusal(ben.client.call::<AccountsImport>(&params).await).code, ErrorCode::Forbidden);
    for (expires_in_s, uses) in [(Some(0), None), (Some(7_776_001), None), (None, Some(0)), (None, Some(1001))] {
        let params = InvitesCreateParams { expires_in_s, uses };
        assert_eq!(refusal(anna.client.call::<InvitesCreate>(&params).await).code, ErrorCode::InvalidParams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invites_end_with_the_rights_of_who_made_them() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let account_id = ben.account.account_id;
    let role = async |role| {
        anna.client.call::<AccountsRole>(&AccountsRoleParams { account_id, role }).await.expect("changed");
    };
    role(AccountRole::Administrator).await;
    let (lowered, _) = create(&ben, None, None).await;
    role(AccountRole::Member).await;
    assert_eq!(refusal(accept(&server, &lowered, "emil").await).code, ErrorCode::InviteInvalid);
    role(AccountRole::Administrator).await;
    let (disabled, _) = create(&ben, None, None).await;
    anna.client.call::<AccountsDisable>(&AccountParams { account_id }).await.expect("disabled");
    assert_eq!(refusal(accept(&server, &disabled, "emil").await).code, ErrorCode::InviteInvalid);
}

fn logged_in(site: &Site, server: &Server, name: &str) -> Terminal {
    let terminal = Terminal::new(site.path(name));
    let url = server.url().to_string();
    terminal.run_with_input(&["login", "--server", &url, "--password-stdin", name], PASSWORD).ok();
    terminal
}

/// `username,display_name` and `wxm,王小明`, `lihua,李华`, as a Chinese Excel writes them.
const GB18030: &[u8] =
    b"username,display_name,password\r\nwxm,\xcd\xf5\xd0\xa1\xc3\xf7,\r\n\r\nlihua,\xc0\xee\xbb\xaa,long enough\r\n";

#[test]
fn a_chinese_spreadsheet_is_imported_once_after_a_dry_run_that_changes_nothing() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = logged_in(&site, &server, "anna");
    let file = site.path("people.csv");
    std::fs::write(&file, GB18030).expect("a file");
    let file = file.display().to_string();
    for _ in 0..2 {
        let said = anna.run(&["account", "import", "--dry-run", &file]).ok();
        assert_eq!(said, "Accounts that would be made: 2; there already: 0.");
    }
    let said = anna.run(&["account", "import", &file]).ok();
    let lines: Vec<_> = said.lines().collect();
    let password = lines[0].strip_prefix("wxm  王小明  Password: ").expect("a made-up password");
    assert_eq!(lines[1..], ["lihua  李华", "Accounts made: 2; there already: 0."]);
    assert_eq!(anna.run(&["account", "import", &file]).ok(), "Accounts made: 0; there already: 2.");
    assert_eq!(anna.run(&["account", "search", "王"]).ok(), "wxm  王小明");

    // Each can log in once the password is their own.
    let (url, wxm) = (server.url().to_string(), Terminal::new(site.path("wxm")));
    let refused = wxm.run_with_input(&["login", "--server", &url, "--password-stdin", "wxm"], password).refused(1);
    assert!(refused.contains(&format!("posthouse passwd --server {url} wxm")), "{refused}");
    let both = format!("{password}\n{PASSWORD}\n");
    let changed = wxm.run_with_input(&["passwd", "--server", &url, "--password-stdin", "wxm"], &both).ok();
    assert_eq!(changed, "The password is changed.");
    wxm.run_with_input(&["login", "--server", &url, "--password-stdin", "wxm"], PASSWORD).ok();
    assert_eq!(wxm.run(&["account", "me"]).ok(), "wxm  王小明");
    let refused = wxm.run(&["account", "import", &file]).refused(1);
    assert!(refused.contains("your role does not allow this"), "{refused}");
}

#[test]
fn a_bad_row_anywhere_in_a_long_file_is_named_and_nothing_is_imported() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = logged_in(&site, &server, "anna");
    let mut text = "\u{feff}username\n".to_owned();
    (0..250).for_each(|number| text.push_str(&format!("u{number}\n")));
    let file = site.path("people.csv");
    std::fs::write(&file, format!("{text}no name\n")).expect("a file");
    let file = file.display().to_string();
    let said = anna.run(&["account", "import", &file]);
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
    assert!(said.out.starts_with("line 252: a user name has letters"), "{said:?}");
    assert!(said.err.contains("nothing was imported"), "{said:?}");
    assert_eq!(anna.run(&["account", "search"]).ok().lines().count(), 1);
    // The server takes 100 rows at once: those of a later part it compares with none before.
    std::fs::write(&file, format!("{text}U7\nu100\n")).expect("a file");
    for command in [&["account", "import", "--dry-run", &file][..], &["account", "import", &file]] {
        let said = anna.run(command);
        assert_eq!(
            said.out, "line 252: u7 stands in an earlier row\nline 253: u100 stands in an earlier row",
            "{said:?}"
        );
        assert!(said.code == Some(1) && said.err.contains("2 of the rows can't be used"), "{said:?}");
    }
    assert_eq!(anna.run(&["account", "search"]).ok().lines().count(), 1);
    std::fs::write(&file, b"username\nz\xfcrich\xff\n").expect("a file");
    assert!(anna.run(&["account", "import", &file]).refused(1).contains("neither UTF-8 nor GB18030"));
}

#[test]
fn the_command_invites_lists_devices_logs_out_and_administers() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = logged_in(&site, &server, "anna");
    let url = server.url().to_string();
    let said = anna.run(&["invite", "create", "--uses", "2"]).ok();
    let (number, code) =
        said.strip_prefix("Invite ").and_then(|rest| rest.lines().next()?.split_once(" made. Code: ")).expect("a code");
    let emil = Terminal::new(site.path("emil"));
    let accept = ["invite", "accept", "--server", &url, "--display-name", "Emil E.", "--password-stdin", code, "emil"];
    assert_eq!(emil.run_with_input(&accept, PASSWORD).ok(), format!("Logged in as emil at {url}."));
    assert!(anna.run(&["invite", "list"]).ok().starts_with(&format!("{number}  by anna, for 1 accounts")));
    assert_eq!(anna.run(&["invite", "revoke", number]).ok(), "Revoked.");
    assert_eq!(anna.run(&["invite", "list"]).ok(), "");

    assert!(emil.run(&["devices"]).ok().ends_with("(this one)"));
    assert_eq!(anna.run(&["account", "role", "emil", "administrator"]).ok(), "emil  Emil E.  (administrator)");
    let made = emil.run(&["account", "create", "--display-name", "Dora", "dora"]).ok();
    assert!(made.starts_with("dora  Dora  Password: "), "{made}");
    assert!(emil.run(&["account", "disable", "anna"]).refused(1).contains("your role does not allow this"));
    assert_eq!(emil.run(&["account", "disable", "dora"]).ok(), "dora  Dora  (disabled)");
    assert_eq!(anna.run(&["account", "depart", "dora"]).ok(), "dora  Dora  (departed)");
    assert_eq!(anna.run(&["account", "devices", "emil"]).ok().lines().count(), 1);
    assert_eq!(anna.run(&["account", "sign-out", "emil"]).ok(), "Signed out.");
    assert!(emil.run(&["devices"]).refused(1).contains("this device is logged out"));
    assert_eq!(emil.run(&["logout"]).ok(), "Logged out.");
    assert!(!emil.login_file().exists());
    anna.run(&["logout"]).ok();
    assert!(anna.run(&["devices"]).refused(1).contains("not logged in"));
    let socket = site.admin_socket().display().to_string();
    emil.run(&["user", "add", "--admin-socket", &socket, "--role", "owner", "olga"]).ok();
    server.assert_undisturbed();
}

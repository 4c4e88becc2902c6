//! Groups: who comes in and goes out, what each of them sees, and that all their devices learn it.

use posthouse_client::{ClientError, Inbox, Item, Link, Start, new_client_msg_id};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site, refusal};
use posthouse_protocol::{
    Body, ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsCreate, ConversationsCreateParams,
    ConversationsGet, ConversationsGetParams, ConversationsLeave, ConversationsLeaveParams, ConversationsMembers,
    ConversationsMembersParams, ConversationsRemove, ConversationsRemoveParams, ConversationsRole,
    ConversationsRoleParams, ConversationsUpdate, ConversationsUpdateParams, Cursor, ErrorCode, Event, GroupInfo,
    HistoryAccess, MemberRole, Message, MessagesEdit, MessagesEditParams, Method, NewBody, Push, Pushed, Sync,
    SyncParams, SystemBody, Title, Username,
};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_sees_what_follows_and_who_is_removed_sees_that_as_the_last() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let mut others = [Device::log_in(&server.url(), "anna").await, Device::log_in(&server.url(), "ben").await];
    let board = create(&anna, "Board", &["ben"], HistoryAccess::FromJoining).await;
    // Its owner learns what the answer does not say; all devices hear of the group before its first message.
    for (device, role) in [(&mut anna, "owner")].into_iter().chain(others.iter_mut().zip(["owner", "member"])) {
        assert_eq!(next(device).await, format!("+{board} Board 2 {role}"));
        assert_eq!(next(device).await, "anna created: Board [ben]");
    }
    let [_, ben] = &mut others;
    anna.send(board, "one").await;
    assert_eq!(next(ben).await, "ben hears anna: one");
    let mut carl = Device::log_in(&server.url(), "carl").await;
    assert_eq!(add(&anna, board, &["ben", "carl"]).await.expect("added"), ["carl"]);
    assert_eq!(next(&mut carl).await, format!("+{board} Board 3 member"));
    for device in [&mut carl, ben] {
        assert_eq!(next(device).await, "anna added: [carl]");
    }
    ben.send(board, "two").await;
    assert_eq!(next(&mut carl).await, "carl hears ben: two");
    assert_eq!(history(&carl, board).await, ["anna added: [carl]", "carl hears ben: two"]);

    remove(&anna, board, "carl").await.expect("removed");
    anna.send(board, "behind his back").await;
    assert_eq!(next(&mut carl).await, "anna removed: carl");
    assert_eq!(next(&mut carl).await, format!("-{board}"));
    for gone in [
        refusal(carl.try_send(board, new_client_msg_id(), "hello?").await),
        refusal(get(&carl, board).await),
        refusal(members(&carl, board).await),
        refusal(leave(&carl, board).await),
        refusal(add(&carl, board, &["carl"]).await),
    ] {
        assert_eq!((gone.code, gone.message.as_str()), (ErrorCode::NotFound, "there is no such conversation"));
    }
    // Nothing came meanwhile: the next event is one of another conversation.
    let notes = Device::log_in(&server.url(), "carl").await.direct("carl").await;
    assert_eq!(next(&mut carl).await, format!("+{notes}"));
    let seen = sync(&carl).await;
    let stay = [
        format!("+{board} Board 3 member"),
        "anna added: [carl]".to_owned(),
        "carl hears ben: two".to_owned(),
        "anna removed: carl".to_owned(),
        format!("-{board}"),
        format!("+{notes}"),
    ];
    assert_eq!(seen, stay, "a sync from the beginning shows the stay and no more");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_sees_the_earlier_stay_and_the_time_between_only_if_history_is_open() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let board = create(&anna, "Board", &["ben"], HistoryAccess::FromJoining).await;
    anna.send(board, "first stay").await;
    leave(&ben, board).await.expect("left");
    anna.send(board, "between").await;
    assert_eq!(refusal(ben.try_send(board, new_client_msg_id(), "x").await).code, ErrorCode::NotFound);
    add(&anna, board, &["ben"]).await.expect("added");
    anna.send(board, "second stay").await;
    let stays = [
        "anna created: Board [ben]",
        "ben hears anna: first stay",
        "ben left:",
        "anna added: [ben]",
        "ben hears anna: second stay",
    ];
    assert_eq!(history(&ben, board).await, stays);
    let told = [format!("+{board} Board 2 member"), format!("-{board}"), format!("+{board} Board 2 member")];
    let [came, went, came_back] = told.each_ref().map(String::as_str);
    let events = [came, stays[0], stays[1], stays[2], went, came_back, stays[3], stays[4]];
    assert_eq!(sync(&ben).await, events, "and sync the same, with what all devices are told");

    // The setting counts for those who join from then on.
    update(&anna, board, None, None, Some(HistoryAccess::All)).await.expect("changed");
    assert!(!history(&ben, board).await.contains(&"ben hears anna: between".to_owned()));
    add(&anna, board, &["carl"]).await.expect("added");
    let carl = Device::log_in(&server.url(), "carl").await;
    let whole = history(&carl, board).await;
    assert_eq!(whole.len(), 8, "{whole:?}");
    assert_eq!((whole[0].as_str(), whole[3].as_str()), ("anna created: Board [ben]", "carl hears anna: between"));
    assert_eq!(whole[6], "anna updated: None None Some(All)");
    leave(&ben, board).await.expect("left");
    add(&anna, board, &["ben"]).await.expect("added");
    update(&anna, board, None, None, Some(HistoryAccess::FromJoining)).await.expect("changed");
    assert_eq!(history(&ben, board).await.len(), 11, "what was shown once is not taken back");

    // All of it is in the store.
    server.kill();
    let server = site.start();
    let ben = Device::connect(&server.url(), ben.token).await;
    let anna = Device::connect(&server.url(), anna.token).await;
    assert_eq!(history(&ben, board).await.len(), 11);
    remove(&anna, board, "carl").await.expect("roles and members are known again");
    assert_eq!(refusal(remove(&ben, board, "anna").await).code, ErrorCode::Forbidden);
    assert_eq!(group(&ben, board).await.member_count, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_offline_learns_of_coming_and_going_in_order() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let (link, mut inbox) = Link::start(server.url(), ben.token.clone(), Start::Now);
    online(&mut inbox).await;
    let position = inbox.position().cloned().expect("it is online");
    drop((link, inbox));
    let direct = anna.direct("ben").await;
    let board = create(&anna, "Board", &["ben"], HistoryAccess::All).await;
    anna.send(board, "one").await;
    remove(&anna, board, "ben").await.expect("removed");
    anna.send(board, "two").await;
    // From here on it was handed out, so that it lies before the link's place in the stream.
    while next(&mut ben).await != format!("-{board}") {}
    let (_link, mut inbox) = Link::start(server.url(), ben.token, Start::Position(position));
    let mut events = Vec::new();
    while events.len() < 6 {
        events.push(told("ben", within("event", inbox.next_event()).await.expect("the link lasts")));
    }
    let expected = [
        format!("+{direct} with anna"),
        format!("+{board} Board 2 member"),
        "anna created: Board [ben]".to_owned(),
        "ben hears anna: one".to_owned(),
        "anna removed: ben".to_owned(),
        format!("-{board}"),
    ];
    assert_eq!(events, expected);
    online(&mut inbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_over_when_its_owner_leaves_and_lasts_without_members() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl", "dora"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut dora = Device::log_in(&server.url(), "dora").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let carl = Device::log_in(&server.url(), "carl").await;
    let board = create(&anna, "Board", &["dora"], HistoryAccess::All).await;
    add(&anna, board, &["carl"]).await.expect("added");
    add(&anna, board, &["ben"]).await.expect("added");
    role(&anna, board, "carl", MemberRole::Admin).await.expect("changed");
    // The only admin comes before a member who has been there for longer; then that one before the other.
    leave(&anna, board).await.expect("left");
    assert_eq!(group(&carl, board).await.role, MemberRole::Owner);
    leave(&carl, board).await.expect("left");
    let info = group(&dora, board).await;
    assert_eq!((info.role, info.member_count), (MemberRole::Owner, 2));
    assert_eq!(group(&ben, board).await.role, MemberRole::Member);
    let mut last = String::new();
    while last != format!("!{board} role Owner") {
        last = next(&mut dora).await;
    }
    let said = history(&dora, board).await;
    assert_eq!(said[said.len() - 2..], ["anna left: carl", "carl left: dora"]);
    // Handing over leaves an admin.
    role(&dora, board, "ben", MemberRole::Owner).await.expect("changed");
    assert_eq!(members(&ben, board).await.expect("members"), "ben=Owner dora=Admin");
    leave(&dora, board).await.expect("left");
    leave(&ben, board).await.expect("left");
    assert_eq!(refusal(get(&ben, board).await).code, ErrorCode::NotFound);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_departs_leaves_every_group_and_hands_over_those_that_they_own() {
    use posthouse_protocol::{AccountParams, AccountsDepart};
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl", "dora"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut dora = Device::log_in(&server.url(), "dora").await;
    let owned = create(&ben, "Owned", &["carl", "dora"], HistoryAccess::All).await;
    role(&ben, owned, "dora", MemberRole::Admin).await.expect("changed");
    let other = create(&anna, "Other", &["ben", "dora"], HistoryAccess::All).await;
    ben.send(owned, "goodbye").await;
    while next(&mut dora).await != "dora hears ben: goodbye" {}

    let departed = AccountParams { account_id: ben.account.account_id };
    call::<AccountsDepart>(&anna, &departed).await.expect("departed");
    assert_eq!(history(&dora, owned).await[2..], ["dora hears ben: goodbye", "ben left: dora"]);
    assert_eq!(history(&dora, other).await.last().map(String::as_str), Some("ben left:"));
    role(&dora, owned, "carl", MemberRole::Admin).await.expect("it is hers now");
    let refused = refusal(add(&anna, other, &["ben"]).await);
    assert_eq!(refused.code, ErrorCode::NotFound, "nobody lets in who has departed");
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_come_from_the_owner_and_admins_and_a_retry_is_still_acknowledged() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let news = create(&anna, "News", &["ben"], HistoryAccess::All).await;
    let id = new_client_msg_id();
    let first = ben.try_send(news, id.clone(), "while all may").await.expect("sent");
    update(&anna, news, Some("News!"), Some(true), None).await.expect("changed");
    let refused = refusal(ben.try_send(news, new_client_msg_id(), "and now").await);
    assert_eq!(refused.code, ErrorCode::Forbidden, "{refused}");
    let body = NewBody::Text { text: "in its place".to_owned() };
    let edit = MessagesEditParams { conversation_id: news, message_id: first.message_id, body };
    assert_eq!(refusal(ben.client.call::<MessagesEdit>(&edit).await).code, ErrorCode::Forbidden);
    assert_eq!(ben.try_send(news, id.clone(), "while all may").await.expect("it was stored"), first);
    role(&anna, news, "ben", MemberRole::Admin).await.expect("changed");
    ben.send(news, "as an admin").await;
    role(&anna, news, "ben", MemberRole::Member).await.expect("changed");
    assert_eq!(refusal(ben.try_send(news, new_client_msg_id(), "x").await).code, ErrorCode::Forbidden);
    remove(&anna, news, "ben").await.expect("removed");
    assert_eq!(ben.try_send(news, id, "while all may").await.expect("it was stored"), first);
    let mut heard = Vec::new();
    while heard.last() != Some(&format!("-{news}")) {
        heard.push(next(&mut ben).await);
    }
    let news_of_it: Vec<_> = heard.iter().filter(|event| event.starts_with('!')).collect();
    let expected =
        [format!("!{news} News! Some(true) None"), format!("!{news} role Admin"), format!("!{news} role Member")];
    assert_eq!(news_of_it, expected.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_in_the_group_for_everybody_and_newcomers_join_by_themselves() {
    use posthouse_client::admin::Admin;
    use posthouse_protocol::admin::GroupEverybodyParams;
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let mut admin = Admin::open(server.admin_socket()).expect("the administration socket answers");
    let mut params = GroupEverybodyParams {
        title: Title::new("All hands").expect("a title"),
        owner: Username::new("nobody").expect("a name"),
        announcement_only: Some(true),
        history: None,
    };
    assert_eq!(refusal(admin.group_for_everybody(&params)).code, ErrorCode::NotFound);
    params.owner = Username::new("anna").expect("a name");
    let made = admin.group_for_everybody(&params).expect("made");
    assert_eq!(made.added, 1, "ben; anna made it");
    let all = made.conversation_id;
    assert_eq!(next(&mut ben).await, format!("+{all} All hands 2 member"));
    assert_eq!(next(&mut ben).await, "anna added: [ben]");
    let again = admin.group_for_everybody(&params).expect("it is there");
    assert_eq!((again.conversation_id, again.added), (all, 0));
    server.kill();
    let server = site.start();
    server.add_account("carl");
    let anna = Device::connect(&server.url(), anna.token).await;
    let carl = Device::log_in(&server.url(), "carl").await;
    assert_eq!(sync(&carl).await.last().map(String::as_str), Some("carl joined"));
    assert_eq!(history(&carl, all).await.len(), 3, "newcomers see what was said before");
    assert_eq!(members(&carl, all).await.expect("members"), "anna=Owner ben=Member carl=Member");
    assert!(group(&carl, all).await.everybody);
    for refused in [
        refusal(leave(&carl, all).await),
        refusal(leave(&anna, all).await),
        refusal(remove(&anna, all, "carl").await),
        refusal(add(&anna, all, &["carl"]).await),
    ] {
        assert_eq!(refused.code, ErrorCode::Forbidden, "{refused}");
    }
    anna.send(all, "welcome").await;
    role(&anna, all, "carl", MemberRole::Admin).await.expect("roles are as in any group");
    carl.send(all, "thanks").await;
    server.assert_undisturbed();
}

/// What an event says to `reader`, in short.
fn told(reader: &str, event: Event) -> String {
    match event {
        Event::Message(message) => said(reader, &message),
        Event::ConversationAdded(added) => match (added.group, added.peer) {
            (Some(group), _) => {
                let role = format!("{:?}", group.role).to_lowercase();
                format!("+{} {} {} {role}", added.conversation_id, group.title, group.member_count)
            }
            (None, Some(peer)) if peer.username.as_str() != reader => {
                format!("+{} with {}", added.conversation_id, peer.username)
            }
            _ => format!("+{}", added.conversation_id),
        },
        Event::ConversationUpdated(updated) => match (updated.role, updated.title) {
            (Some(role), None) => format!("!{} role {role:?}", updated.conversation_id),
            (None, Some(title)) => {
                let (only, history) = (updated.announcement_only, updated.history);
                format!("!{} {title} {only:?} {history:?}", updated.conversation_id)
            }
            other => format!("!{} {other:?}", updated.conversation_id),
        },
        Event::ConversationRemoved(removed) => format!("-{}", removed.conversation_id),
        other => panic!("{other:?}"),
    }
}

fn said(reader: &str, message: &Message) -> String {
    let sender = &message.sender.username;
    let names = |accounts: &[posthouse_protocol::Account]| {
        let names: Vec<_> = accounts.iter().map(|account| account.username.as_str()).collect();
        format!("[{}]", names.join(" "))
    };
    match &message.body {
        Body::Text { text } => format!("{reader} hears {sender}: {text}"),
        Body::System(SystemBody::Created { title, members }) => format!("{sender} created: {title} {}", names(members)),
        Body::System(SystemBody::Added { members }) => format!("{sender} added: {}", names(members)),
        Body::System(SystemBody::Removed { member }) => format!("{sender} removed: {}", member.username),
        Body::System(SystemBody::Left { new_owner: None }) => format!("{sender} left:"),
        Body::System(SystemBody::Left { new_owner: Some(owner) }) => format!("{sender} left: {}", owner.username),
        Body::System(SystemBody::Joined) => format!("{sender} joined"),
        Body::System(SystemBody::Updated { title, announcement_only, history }) => {
            let title = title.as_ref().map(Title::as_str);
            format!("{sender} updated: {title:?} {announcement_only:?} {history:?}")
        }
        Body::System(SystemBody::Role { member, role }) => format!("{sender} role: {} {role:?}", member.username),
        other @ (Body::Recalled { .. } | Body::Unknown(_)) => panic!("{other:?}"),
    }
}

async fn next(device: &mut Device) -> String {
    let reader = device.account.username.to_string();
    told(&reader, device.next_event().await)
}

async fn history(device: &Device, conversation: ConversationId) -> Vec<String> {
    let messages = device.history(conversation).await;
    messages.iter().map(|message| said(device.account.username.as_str(), message)).collect()
}

/// Everything from the beginning.
async fn sync(device: &Device) -> Vec<String> {
    let params = SyncParams { cursor: Cursor("0".to_owned()), until: None, limit: None };
    let page = call::<Sync>(device, &params).await.expect("a page");
    assert!(!page.has_more);
    let events = page.events.iter().map(|event| match Push::parse(event.get()) {
        Ok(Pushed::Known(push)) => told(device.account.username.as_str(), push.event),
        other => panic!("{other:?}"),
    });
    events.collect()
}

async fn online(inbox: &mut Inbox) {
    loop {
        match within("item", inbox.next()).await {
            Some(Item::Online) => return,
            Some(Item::Event(Push { event, .. })) => panic!("nothing was to come: {event:?}"),
            Some(_) => {}
            None => panic!("the link ended"),
        }
    }
}

async fn call<M: Method>(device: &Device, params: &M::Params) -> Result<M::Result, ClientError> {
    within(M::NAME, device.client.call::<M>(params)).await
}

fn usernames(names: &[&str]) -> Vec<Username> {
    names.iter().map(|name| Username::new(name).expect("a user name")).collect()
}

async fn create(device: &Device, title: &str, members: &[&str], history: HistoryAccess) -> ConversationId {
    let (title, members) = (Title::new(title).expect("a title"), usernames(members));
    let params = ConversationsCreateParams {
        title,
        members,
        announcement_only: None,
        history: Some(history),
        client_msg_id: None,
    };
    call::<ConversationsCreate>(device, &params).await.expect("a group").conversation_id
}

async fn add(device: &Device, conversation_id: ConversationId, names: &[&str]) -> Result<Vec<String>, ClientError> {
    let params = ConversationsAddParams { conversation_id, members: usernames(names) };
    let result = call::<ConversationsAdd>(device, &params).await?;
    Ok(result.added.iter().map(|account| account.username.to_string()).collect())
}

async fn remove(device: &Device, conversation_id: ConversationId, name: &str) -> Result<(), ClientError> {
    let params = ConversationsRemoveParams { conversation_id, member: usernames(&[name]).remove(0) };
    call::<ConversationsRemove>(device, &params).await.map(drop)
}

async fn leave(device: &Device, conversation_id: ConversationId) -> Result<(), ClientError> {
    call::<ConversationsLeave>(device, &ConversationsLeaveParams { conversation_id }).await.map(drop)
}

async fn role(
    device: &Device,
    conversation_id: ConversationId,
    name: &str,
    role: MemberRole,
) -> Result<(), ClientError> {
    let params = ConversationsRoleParams { conversation_id, member: usernames(&[name]).remove(0), role };
    call::<ConversationsRole>(device, &params).await.map(drop)
}

async fn update(
    device: &Device,
    conversation_id: ConversationId,
    title: Option<&str>,
    announcement_only: Option<bool>,
    history: Option<HistoryAccess>,
) -> Result<(), ClientError> {
    let title = title.map(|title| Title::new(title).expect("a title"));
    let params = ConversationsUpdateParams { conversation_id, title, announcement_only, history };
    call::<ConversationsUpdate>(device, &params).await.map(drop)
}

async fn get(device: &Device, conversation_id: ConversationId) -> Result<GroupInfo, ClientError> {
    let found = call::<ConversationsGet>(device, &ConversationsGetParams { conversation_id }).await?;
    Ok(found.group.expect("a group"))
}

async fn group(device: &Device, conversation_id: ConversationId) -> GroupInfo {
    get(device, conversation_id).await.expect("a member")
}

/// Names and roles, page by page.
async fn members(device: &Device, conversation_id: ConversationId) -> Result<String, ClientError> {
    let mut params = ConversationsMembersParams { conversation_id, after: None, limit: Some(2) };
    let mut members = Vec::new();
    loop {
        let page = call::<ConversationsMembers>(device, &params).await?;
        members.extend(page.members.iter().map(|member| format!("{}={:?}", member.account.username, member.role)));
        if page.next.is_none() {
            return Ok(members.join(" "));
        }
        params.after = page.next;
    }
}

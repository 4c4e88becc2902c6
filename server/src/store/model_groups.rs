//! Groups in the model of the store: what each command is to come to, told once more in other words.

use std::collections::BTreeMap;

use posthouse_protocol::{
    AccountId, ClientMsgId, ConversationId, GroupInfo, HistoryAccess, MemberRole, NewBody, Title, Username, limits,
};

use super::crash_tests::Random;
use super::model_tests::{ACCOUNTS, Known, Model, index, pick};
use super::record::{Audience, Origin};
use super::{
    AccountAdd, AccountDepart, EverybodyFill, EverybodyOpen, GroupCreate, GroupLeave, GroupRole, GroupSettings,
    GroupUpdate, GroupsLeave, MemberRemove, MembersAdd, MessageAppend, Refusal, Store, StoreParts, Write,
};

/// So many that commands meet the same ones again.
const GROUPS_MAX: usize = 5;

/// No account has it.
const NOBODY: AccountId = AccountId(99);

/// A group as the model knows it.
pub struct GroupModel {
    pub settings: GroupSettings,
    /// Who is in it, with the role and the record before which the stay began.
    pub members: BTreeMap<AccountId, (MemberRole, u64)>,
}

type Expected = Result<(), Refusal>;

impl Model {
    /// What a member sees of a group.
    pub fn info(&self, account: AccountId, conversation: ConversationId) -> Option<GroupInfo> {
        let group = self.groups.get(&conversation)?;
        let (role, _) = *group.members.get(&account)?;
        let GroupSettings { title, announcement_only, history } = group.settings.clone();
        let member_count = group.members.len() as u64;
        Some(GroupInfo { title, announcement_only, history, everybody: false, member_count, role })
    }

    /// One random command to a random group, or to a direct conversation.
    pub async fn group_step(&mut self, store: &Store, random: &mut Random) {
        let actor = AccountId(1 + random.next() % ACCOUNTS);
        let member = pick(random, &[AccountId(1), AccountId(2), AccountId(3), AccountId(4), NOBODY]);
        let members: Vec<AccountId> =
            (1..=ACCOUNTS).map(AccountId).filter(|_| random.next().is_multiple_of(2)).collect();
        let settings = random_settings(random);
        if self.groups.len() < GROUPS_MAX && random.next().is_multiple_of(3) {
            return self.create(store, actor, settings, members).await;
        }
        let conversation = pick(random, &self.conversations);
        match index(random, 9) {
            0..=2 => self.add(store, actor, conversation, [members, vec![member]].concat()).await,
            3 | 4 => self.remove(store, actor, conversation, member).await,
            5 => {
                let role = pick(random, &[MemberRole::Member, MemberRole::Admin, MemberRole::Owner]);
                self.role(store, actor, conversation, member, role).await;
            }
            6 => self.leave(store, actor, conversation).await,
            _ => self.update(store, actor, conversation, settings).await,
        }
    }

    async fn create(&mut self, store: &Store, owner: AccountId, settings: GroupSettings, members: Vec<AccountId>) {
        let create = GroupCreate { owner, settings: settings.clone(), members: members.clone(), client_msg_id: None };
        let made = store.write(create).await.expect("stored").expect("anybody may");
        self.conversations.push(*made);
        self.groups.insert(*made, GroupModel { settings, members: BTreeMap::new() });
        let others = members.into_iter().filter(|member| *member != owner);
        self.let_in(*made, &std::iter::once(owner).chain(others).collect::<Vec<_>>());
        self.group(*made).members.get_mut(&owner).expect("it is in").0 = MemberRole::Owner;
        self.said(*made, "created");
    }

    async fn add(
        &mut self,
        store: &Store,
        actor: AccountId,
        conversation: ConversationId,
        mut members: Vec<AccountId>,
    ) {
        members.sort_unstable();
        members.dedup();
        let expected = self.as_admin(actor, conversation);
        let expected = expected.and(if members.contains(&NOBODY) { Err(Refusal::NoSuchAccount) } else { Ok(()) });
        let add = MembersAdd { actor, conversation_id: conversation, members: members.clone() };
        if !agrees(store, add, expected).await {
            return;
        }
        members.retain(|member| !self.group(conversation).members.contains_key(member));
        if !members.is_empty() {
            self.let_in(conversation, &members);
            self.said(conversation, "added");
        }
    }

    async fn remove(&mut self, store: &Store, actor: AccountId, conversation: ConversationId, member: AccountId) {
        let expected = self.as_admin(actor, conversation).and_then(|()| {
            let (mine, theirs) = (self.role_of(actor, conversation), self.role_of(member, conversation));
            match theirs {
                None => Err(Refusal::NoSuchMember),
                Some(_) if member == actor => Err(Refusal::Oneself),
                theirs if theirs >= mine => Err(Refusal::NotAllowed),
                Some(_) => Ok(()),
            }
        });
        if agrees(store, MemberRemove { actor, conversation_id: conversation, member }, expected).await {
            self.said(conversation, "removed");
            self.let_out(conversation, member);
        }
    }

    async fn leave(&mut self, store: &Store, actor: AccountId, conversation: ConversationId) {
        let expected = self.as_any(actor, conversation);
        if !agrees(store, GroupLeave { account_id: actor, conversation_id: conversation }, expected).await {
            return;
        }
        let was_owner = self.role_of(actor, conversation) == Some(MemberRole::Owner);
        self.said(conversation, "left");
        self.let_out(conversation, actor);
        let group = self.group(conversation);
        // Admins come first, and then who came first.
        let heir =
            group.members.iter().max_by_key(|(id, (role, entered))| (*role, u64::MAX - entered, u64::MAX - id.0));
        if let Some(heir) = heir.map(|(heir, _)| *heir).filter(|_| was_owner) {
            self.give(conversation, heir, MemberRole::Owner);
        }
    }

    async fn role(
        &mut self,
        store: &Store,
        actor: AccountId,
        conversation: ConversationId,
        member: AccountId,
        role: MemberRole,
    ) {
        let expected = self.as_any(actor, conversation).and_then(|()| {
            match (self.role_of(actor, conversation), self.role_of(member, conversation)) {
                (Some(MemberRole::Owner), None) => Err(Refusal::NoSuchMember),
                (Some(MemberRole::Owner), Some(_)) if actor == member => Err(Refusal::Oneself),
                (Some(MemberRole::Owner), Some(_)) => Ok(()),
                _ => Err(Refusal::NotAllowed),
            }
        });
        let command = GroupRole { actor, conversation_id: conversation, member, role };
        if agrees(store, command, expected).await && self.role_of(member, conversation) != Some(role) {
            self.said(conversation, "role");
            self.give(conversation, member, role);
            if role == MemberRole::Owner {
                self.give(conversation, actor, MemberRole::Admin);
            }
        }
    }

    async fn update(&mut self, store: &Store, actor: AccountId, conversation: ConversationId, wanted: GroupSettings) {
        let expected = self.as_admin(actor, conversation);
        let GroupSettings { title, announcement_only, history } = wanted.clone();
        let (title, announcement_only, history) = (Some(title), Some(announcement_only), Some(history));
        let update = GroupUpdate { actor, conversation_id: conversation, title, announcement_only, history };
        if agrees(store, update, expected).await && self.group(conversation).settings != wanted {
            self.group(conversation).settings = wanted;
            self.said(conversation, "updated");
            self.record(Audience::Conversation(conversation), None);
        }
    }

    fn group(&mut self, conversation: ConversationId) -> &mut GroupModel {
        self.groups.get_mut(&conversation).expect("it is a group")
    }

    fn role_of(&self, account: AccountId, conversation: ConversationId) -> Option<MemberRole> {
        self.groups.get(&conversation)?.members.get(&account).map(|(role, _)| *role)
    }

    fn as_any(&self, actor: AccountId, conversation: ConversationId) -> Expected {
        if !self.is_member(actor, conversation) {
            Err(Refusal::NoSuchConversation)
        } else if !self.groups.contains_key(&conversation) {
            Err(Refusal::NotAGroup)
        } else {
            Ok(())
        }
    }

    fn as_admin(&self, actor: AccountId, conversation: ConversationId) -> Expected {
        self.as_any(actor, conversation)?;
        let role = self.role_of(actor, conversation);
        if role == Some(MemberRole::Member) { Err(Refusal::NotAllowed) } else { Ok(()) }
    }

    fn let_in(&mut self, conversation: ConversationId, members: &[AccountId]) {
        let last = self.last();
        for member in members {
            let group = self.group(conversation);
            group.members.insert(*member, (MemberRole::Member, last));
            let all = group.settings.history == HistoryAccess::All;
            if self.intervals(*member, conversation).is_none() {
                self.members.push((*member, conversation, Vec::new()));
            }
            let intervals = self.intervals(*member, conversation).expect("it is there now");
            if all {
                *intervals = vec![(0, u64::MAX)];
            } else {
                intervals.push((last + 1, u64::MAX));
            }
            self.record(Audience::Account(*member), None);
        }
    }

    /// The last record is the last that is seen.
    fn let_out(&mut self, conversation: ConversationId, member: AccountId) {
        let last = self.last();
        self.group(conversation).members.remove(&member);
        let intervals = self.intervals(member, conversation).expect("it was in");
        intervals.last_mut().expect("a stay").1 = last;
        self.record(Audience::Account(member), None);
    }

    fn give(&mut self, conversation: ConversationId, member: AccountId, role: MemberRole) {
        self.group(conversation).members.get_mut(&member).expect("it is in").0 = role;
        self.record(Audience::Account(member), None);
    }

    fn said(&mut self, conversation: ConversationId, what: &str) {
        let audience = Audience::Conversation(conversation);
        let earlier = self.records.iter().rev().filter(|record| record.audience == audience);
        let seq = earlier.filter_map(|record| record.message.as_ref()).map(|(seq, _)| *seq).next();
        self.record(audience, Some((seq.unwrap_or(0) + 1, what.to_owned())));
    }

    /// The next record.
    pub fn record(&mut self, audience: Audience, message: Option<(u64, String)>) {
        let gseq = self.last() + 1;
        self.records.push(Known { gseq, audience, message });
    }
}

/// Whether the command was carried out; it must have been if and only if the model says so.
async fn agrees<W: Write>(store: &Store, command: W, expected: Expected) -> bool {
    let outcome = store.write(command).await.expect("stored").map(|_| ());
    assert_eq!(outcome, expected);
    outcome.is_ok()
}

fn random_settings(random: &mut Random) -> GroupSettings {
    let title = Title::new(pick(random, &["Board", "驿站"])).expect("a title");
    let history = pick(random, &[HistoryAccess::All, HistoryAccess::FromJoining]);
    GroupSettings { title, announcement_only: random.next().is_multiple_of(2), history }
}

async fn accounts(store: &Store, count: u64) {
    let add = |number: u64| {
        let username = Username::new(&format!("n{number}")).expect("a name");
        store.write(AccountAdd::by_machine(username, String::new()))
    };
    for added in futures_util::future::join_all((1..=count).map(add)).await {
        added.expect("stored").expect("a free name");
    }
}

fn settings() -> GroupSettings {
    let title = Title::new("Board").expect("a title");
    GroupSettings { title, announcement_only: false, history: HistoryAccess::FromJoining }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_a_limit_and_the_one_for_everybody_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, mut published, .. } = Store::open(folder.path()).expect("opens");
    tokio::spawn(async move { while published.recv().await.is_some() {} });
    let most = u64::try_from(limits::GROUP_MEMBERS_MAX).expect("small");
    accounts(&store, most + 1).await;
    let owner = AccountId(1);
    let create = GroupCreate { owner, settings: settings(), members: Vec::new(), client_msg_id: None };
    let conversation_id = *store.write(create).await.expect("stored").expect("made");
    let all: Vec<AccountId> = (1..=most).map(AccountId).collect();
    for members in all.chunks(limits::MEMBERS_CHANGE_MAX) {
        let add = MembersAdd { actor: owner, conversation_id, members: members.to_vec() };
        store.write(add).await.expect("stored").expect("there is room");
    }
    let add = |members: Vec<AccountId>| store.write(MembersAdd { actor: owner, conversation_id, members });
    assert_eq!(add(vec![AccountId(most + 1)]).await.expect("stored"), Err(Refusal::GroupFull));
    assert!(add(vec![AccountId(2)]).await.expect("stored").is_ok(), "who is in it needs no room");
    let found = store.read(move |snapshot| snapshot.conversation(owner, conversation_id)).await.expect("read");
    assert_eq!(found.and_then(|found| found.group).map(|group| group.member_count), Some(most));

    let everybody = *store.write(EverybodyOpen { owner, settings: settings() }).await.expect("stored").expect("made");
    while *store.write(EverybodyFill).await.expect("stored").expect("filled") > 0 {}
    let newcomer = AccountAdd::by_machine(Username::new("new").expect("a name"), String::new());
    let newcomer = store.write(newcomer).await.expect("stored").expect("a free name").account_id;
    let found = store.read(move |snapshot| snapshot.conversation(newcomer, everybody)).await.expect("read");
    assert_eq!(found.and_then(|found| found.group).map(|group| group.member_count), Some(most + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_departs_leaves_every_group_and_owns_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, mut published, .. } = Store::open(folder.path()).expect("opens");
    tokio::spawn(async move { while published.recv().await.is_some() {} });
    accounts(&store, 3).await;
    let [anna, ben, carl] = [1, 2, 3].map(AccountId);
    let mut groups = Vec::new();
    for (owner, members) in [(anna, vec![ben]), (ben, vec![anna, carl]), (carl, vec![ben])] {
        let create = GroupCreate { owner, settings: settings(), members, client_msg_id: None };
        groups.push(*store.write(create).await.expect("stored").expect("made"));
    }
    groups
        .push(*store.write(EverybodyOpen { owner: anna, settings: settings() }).await.expect("stored").expect("made"));
    store.write(EverybodyFill).await.expect("stored").expect("filled");
    for left in [3, 0] {
        assert_eq!(*store.write(GroupsLeave { account_id: anna }).await.expect("stored").expect("left"), left);
    }
    let role = |account: AccountId, conversation: ConversationId| {
        let read = store.read(move |snapshot| snapshot.conversation(account, conversation));
        async move { read.await.expect("read").and_then(|found| found.group).map(|group| group.role) }
    };
    for (group, roles) in groups.into_iter().zip([
        [None, Some(MemberRole::Owner), None],
        [None, Some(MemberRole::Owner), Some(MemberRole::Member)],
        [None, Some(MemberRole::Member), Some(MemberRole::Owner)],
        [None, Some(MemberRole::Owner), Some(MemberRole::Member)],
    ]) {
        assert_eq!([role(anna, group).await, role(ben, group).await, role(carl, group).await], roles, "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_for_everybody_has_an_owner_whoever_departs_before_others_are_in() {
    for way in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, mut published, .. } = Store::open(folder.path()).expect("opens");
        tokio::spawn(async move { while published.recv().await.is_some() {} });
        accounts(&store, 3).await;
        let [one, two, three] = [1, 2, 3].map(AccountId);
        let everybody =
            *store.write(EverybodyOpen { owner: two, settings: settings() }).await.expect("stored").expect("made");
        let depart = || AccountDepart { actor: one, account_id: two };
        while store.write(depart()).await.expect("stored").expect("allowed").is_none() {}
        // Who makes up for it: the site's owner as the group is filled, a newcomer, or whom the administrator names.
        let owner = match way {
            0 => one,
            1 => {
                let add = AccountAdd::by_machine(Username::new("new").expect("a name"), String::new());
                store.write(add).await.expect("stored").expect("a free name").account_id
            }
            _ => {
                let again = EverybodyOpen { owner: three, settings: settings() };
                assert_eq!(*store.write(again).await.expect("stored").expect("there"), everybody);
                three
            }
        };
        while *store.write(EverybodyFill).await.expect("stored").expect("filled") > 0 {}
        let again = EverybodyOpen { owner: one, settings: settings() };
        assert_eq!(*store.write(again).await.expect("stored").expect("there"), everybody, "and it stays so");
        let members = store.read(move |snapshot| snapshot.members(one, everybody, AccountId(0), 10));
        let members = members.await.expect("read").expect("a member").members;
        let owners = members.iter().filter(|member| member.role == MemberRole::Owner);
        assert_eq!(owners.map(|member| member.account.account_id).collect::<Vec<_>>(), [owner], "way {way}");
        assert_eq!(members.len(), if way == 1 { 3 } else { 2 }, "way {way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_asked_for_again_under_its_name_is_the_one_that_was_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, mut published, .. } = Store::open(folder.path()).expect("opens");
    tokio::spawn(async move { while published.recv().await.is_some() {} });
    accounts(&store, 3).await;
    let [one, two, three] = [1, 2, 3].map(AccountId);
    let create = async |owner: AccountId, members: &[AccountId], name: Option<&str>| {
        let client_msg_id = name.map(|name| ClientMsgId::new(name).expect("short"));
        let (settings, members) = (settings(), members.to_vec());
        let create = GroupCreate { owner, settings, members, client_msg_id };
        store.write(create).await.expect("stored").map(|made| *made)
    };
    let first = create(one, &[two, three], Some("board")).await.expect("made");
    assert_eq!(create(one, &[three, two], Some("board")).await, Ok(first));
    assert_eq!(create(one, &[two], Some("board")).await, Err(Refusal::ClientMsgIdUsed));
    let others = [create(two, &[one, three], Some("board")).await, create(one, &[two, three], Some("other")).await];
    let unnamed = [create(one, &[two, three], None).await, create(one, &[two, three], None).await];
    let mut all: Vec<ConversationId> = [others, unnamed].concat().into_iter().map(|made| made.expect("made")).collect();
    all.push(first);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 5, "each is another one");
    let name = ClientMsgId::new("board").expect("short");
    let (body, origin, reply_to, mentions) = (NewBody::text("hello"), Origin(0), None, None);
    let append =
        MessageAppend { sender: one, origin, conversation_id: first, client_msg_id: name, body, reply_to, mentions };
    assert_eq!(store.write(append).await.expect("stored").map(|_| ()), Err(Refusal::ClientMsgIdUsed));
}

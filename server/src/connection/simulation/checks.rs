//! What has to be so once everybody has caught up.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, Conversation, ErrorCode, Event};

use super::ACCOUNTS;
use super::changes::{Asked, Change};
use super::device::Device;
use super::lossy_checks::{check_marks, check_people, check_reading};
use super::record::{Record, stored};
use super::shown::{Place, Said, View};
use super::world::World;
use crate::store::Store;

impl World {
    /// Compares what the devices show with what happened, and what happened with what was asked for and answered.
    pub async fn check(&mut self) {
        let store = self.server().stepped.store.clone();
        let mut all = Vec::new();
        for account in 1..=ACCOUNTS.len() as u64 {
            all.push(stored(&store, AccountId(account)).await);
        }
        let written = self.devices.iter().flat_map(|device| device.tried.clone()).collect();
        let record = Record::new(&all, &self.conversations, &written);
        check_numbers(&record);
        for (account, events) in (1..).map(AccountId).zip(&all) {
            check_view(&record, account, "who begins now", &view_of(events), &BTreeSet::new());
        }
        let marks = check_marks(&store, &record, &self.devices, &self.conversations).await;
        for device in &self.devices {
            let list = check_conversations(&store, device).await;
            device.view.check_whole(&device.name);
            check_view(&record, device.account_id, &device.name, &device.view, &device.changing.unsure);
            check_seen(&record, device);
            check_own(&record, device);
            check_changes(&record, device);
            check_reading(&record, device, &marks, &list);
            check_people(&record, device, &self.devices);
        }
    }
}

/// What a device shows that gets these events and no other ones.
fn view_of(events: &[(u64, Event)]) -> View {
    let mut view = View::default();
    for (cursor, event) in events {
        view.take_event(*cursor, event);
    }
    view
}

fn check_numbers(record: &Record) {
    let mut last = BTreeMap::new();
    for (conversation, seq) in record.messages.keys() {
        let last = last.entry(conversation).or_insert(0);
        assert_eq!(*seq, *last + 1, "a gap in conversation {conversation}");
        *last = *seq;
    }
}

async fn check_conversations(store: &Store, device: &Device) -> Vec<Conversation> {
    let account_id = device.account_id;
    let list = store.read(move |snapshot| snapshot.conversations(account_id, None, 100)).await.expect("read");
    let list = list.expect("a first page").conversations;
    let ids: BTreeSet<_> = list.iter().map(|conversation| conversation.conversation_id).collect();
    assert_eq!(device.conversations(), ids, "{} was told otherwise", device.name);
    list
}

/// What the account may see is there, as it is now, and nothing else.
fn check_view(record: &Record, account: AccountId, name: &str, view: &View, unsure: &BTreeSet<Place>) {
    let visible: Vec<Place> = record.messages_of(account).map(|(place, _)| place).collect();
    let shown: Vec<Place> = view.messages().keys().copied().collect();
    assert_eq!(shown, visible, "{name}, {account}: what is shown and what is to be seen");
    for (place, message) in record.messages_of(account) {
        let known = view.get(place).expect("it is shown");
        let names = |known: &super::shown::Known| (known.message_id, known.sender, known.name.clone(), known.calls_all);
        if known.said != Said::Recalled && message.recalled.is_none() {
            assert_eq!(names(known), names(&message.known), "{name}: {place:?}");
        }
        let now = view.now(place).expect("it is shown");
        assert!(
            unsure.contains(&place) || record.may_read(account, place, &now),
            "{name}: {place:?} reads {now:?}, and what happened is {:?}, {:?}",
            message.versions,
            message.reacted
        );
    }
}

/// Each event of its conversations has come, but for the device's own doings, and nothing else has.
fn check_seen(record: &Record, device: &Device) {
    let due = record.events_of(device.account_id);
    let strange: Vec<&u64> = device.seen.difference(&due).collect();
    assert!(strange.is_empty(), "{} got what is not for it: {strange:?}", device.name);
    let own = record.changes_by(device);
    let missing: Vec<&u64> = due.difference(&device.seen).filter(|cursor| !own.contains(cursor)).collect();
    assert!(missing.is_empty(), "{} never got {missing:?}", device.name);
}

/// Each message of the device is there once, in the order in which it was written. Where it comes and goes, a message may have been
/// refused unheard, while one behind it was taken: tried again, it stands behind that one.
fn check_own(record: &Record, device: &Device) {
    for conversation in device.written.iter().map(|written| written.conversation_id) {
        let of_device = |name: &str| {
            name.rsplit_once('-').is_some_and(|(device_name, _)| device_name == device.name)
                && !device.uncertain.contains(name)
        };
        let here =
            record.messages.iter().filter(|((id, _), message)| *id == conversation && of_device(&message.known.name));
        let here: Vec<&str> = here.map(|(_, message)| message.known.name.as_str()).collect();
        let written = device.written.iter().filter(|written| written.conversation_id == conversation);
        let written: Vec<&str> = written.map(|written| written.client_msg_id.as_str()).collect();
        if record.comes_and_goes(device.account_id, conversation) {
            let (mut all_here, mut all_written) = (here.clone(), written.clone());
            all_here.sort_unstable();
            all_written.sort_unstable();
            assert_eq!(all_here, all_written, "what {} wrote", device.name);
            let heard = |message: &&&str| !device.retried.contains(**message);
            assert!(here.iter().filter(heard).eq(written.iter().filter(heard)), "what {} wrote: {here:?}", device.name);
        } else {
            assert_eq!(here, written, "what {} wrote", device.name);
        }
    }
}

/// What was acknowledged happened, the last of it is what is so now, and what was refused had its reason.
fn check_changes(record: &Record, device: &Device) {
    let (changing, mut last) = (&device.changing, BTreeMap::new());
    for Asked { place, change, .. } in changing.acknowledged.values() {
        let message = &record.messages[place];
        // To recall what is recalled is acknowledged to all; by whom it was recalled the record checks.
        let may = message.known.sender == device.account_id || !matches!(change, Change::Edit(_));
        assert!(may, "{}: {change:?} of what another one wrote was acknowledged", device.name);
        let is_so = match change {
            Change::Edit(text) => message.versions.iter().any(|(_, said)| *said == Said::Text(text.clone())),
            Change::Recall | Change::React(..) => true,
        };
        assert!(is_so || message.recalled.is_some(), "{}: {change:?} of {place:?} was acknowledged", device.name);
    }
    for asked in changing.acknowledged.values().filter(|asked| !changing.unsure.contains(&asked.place)) {
        last.insert(asked.key(), asked);
    }
    for Asked { place, change, .. } in last.into_values() {
        let message = &record.messages[place];
        let is_so = match change {
            Change::Edit(text) => message.versions.last().is_some_and(|(_, said)| *said == Said::Text(text.clone())),
            Change::Recall => false,
            Change::React(emoji, add) => {
                message.stickers_until(u64::MAX).contains(&((*emoji).to_owned(), device.account_id)) == *add
            }
        };
        assert!(is_so || message.recalled.is_some(), "{}: {change:?} of {place:?} came last", device.name);
    }
    for (Asked { place, change, .. }, code) in &changing.refused {
        let message = &record.messages[place];
        let is_own = message.known.sender == device.account_id && !matches!(message.known.said, Said::System(_));
        let has_reason = match code {
            ErrorCode::NotFound => record.comes_and_goes(device.account_id, place.0),
            ErrorCode::Forbidden => !is_own && !matches!(change, Change::React(..)),
            ErrorCode::Conflict => message.recalled.is_some(),
            _ => false,
        };
        assert!(has_reason, "{}: {change:?} of {place:?} was refused: {code:?}", device.name);
    }
}

//! What has to be so once everybody has caught up.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, ConversationId, Event, Push, Pushed};

use super::PAIRS;
use super::device::{Device, View, shown};
use super::world::World;
use crate::store::Store;

impl World {
    pub async fn check(&mut self) {
        let store = self.server().stepped.store.clone();
        for device in &self.devices {
            let stored = stored(&store, device.account_id).await;
            assert_eq!(device.view, stored, "{} shows something else than the store has", device.name);
            let account_id = device.account_id;
            let list = store.read(move |snapshot| snapshot.conversations(account_id, None, 100)).await.expect("read");
            let list = list.expect("a first page").conversations;
            let list: BTreeSet<_> = list.into_iter().map(|conversation| conversation.conversation_id).collect();
            assert_eq!(device.conversations(), list, "{} was told otherwise", device.name);
            let mut last = BTreeMap::new();
            // Who was not in the group for a while has not seen all of it.
            let group = self.conversations[PAIRS.len()];
            for (conversation, seq) in stored.keys().filter(|(id, _)| *id != group || account_id.0 == 1) {
                let last = last.entry(conversation).or_insert(0);
                assert_eq!(*seq, *last + 1, "a gap in conversation {conversation}");
                *last = *seq;
            }
            check_own(device, &stored, (account_id.0 != 1).then_some(group));
        }
    }
}

/// Each message of the device is there once, in the order in which it was written. Where it comes and goes, a message may have been
/// refused unheard, while one behind it was taken: tried again, it stands behind that one.
fn check_own(device: &Device, stored: &View, comes_and_goes: Option<ConversationId>) {
    for conversation in device.written.iter().map(|written| written.conversation_id) {
        let of_device = |name: &str| {
            name.rsplit_once('-').is_some_and(|(device_name, _)| device_name == device.name)
                && !device.uncertain.contains(name)
        };
        let here = stored.iter().filter(|((id, _), (_, name, _))| *id == conversation && of_device(name));
        let here: Vec<(&str, &str)> = here.map(|(_, (_, name, text))| (name.as_str(), text.as_str())).collect();
        let written = device.written.iter().filter(|written| written.conversation_id == conversation);
        let written: Vec<_> = written.map(|written| (written.client_msg_id.as_str(), written.text.as_str())).collect();
        if comes_and_goes == Some(conversation) {
            let (mut all_here, mut all_written) = (here.clone(), written.clone());
            all_here.sort_unstable();
            all_written.sort_unstable();
            assert_eq!(all_here, all_written, "what {} wrote", device.name);
            let heard = |message: &&(&str, &str)| !device.retried.contains(message.0);
            assert!(here.iter().filter(heard).eq(written.iter().filter(heard)), "what {} wrote: {here:?}", device.name);
        } else {
            assert_eq!(here, written, "what {} wrote", device.name);
        }
    }
}

/// Everything that the store has for an account.
async fn stored(store: &Store, account: AccountId) -> View {
    let page = store.read(move |snapshot| snapshot.sync(account, (0, u64::MAX), u32::MAX)).await.expect("read");
    let mut view = View::new();
    let (mut from, mut page) = (0, page);
    loop {
        for event in &page.events {
            let Pushed::Known(Push { event: Event::Message(message), .. }) =
                Push::parse(event.get()).expect("an event")
            else {
                continue;
            };
            let (place, content) = shown(&message);
            assert!(view.insert(place, content).is_none(), "{place:?} is stored twice");
        }
        if !page.has_more {
            return view;
        }
        assert!(page.next > from, "a page moves on");
        from = page.next;
        page = store.read(move |snapshot| snapshot.sync(account, (from, u64::MAX), u32::MAX)).await.expect("read");
    }
}

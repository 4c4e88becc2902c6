//! Steps of the model: what happens to messages after they were sent.

use posthouse_protocol::{AccountId, ConversationId, MemberRole, MessageId, NewBody};

use super::{ERASED, Known, Model, index};
use crate::store::crash_tests::Random;
use crate::store::record::{Audience, Origin};
use crate::store::{MessageEdit, MessageReact, MessageRecall, Refusal, Store, Write};

/// Edits, recalls or reacts to some message, as some account.
pub async fn step(store: &Store, model: &mut Model, account: AccountId, random: &mut Random) {
    let sent: Vec<usize> =
        (0..model.records.len()).filter(|at| model.authors.contains_key(&model.records[*at].gseq)).collect();
    if sent.is_empty() {
        return;
    }
    let at = sent[index(random, sent.len())];
    let Audience::Conversation(conversation_id) = model.records[at].audience else { return };
    let (message_id, origin) = (MessageId(model.records[at].gseq), Origin(0));
    let expected = expected(model, account, conversation_id, at);
    let is_erased = model.records[at].message.as_ref().is_some_and(|(_, text)| text == ERASED);
    let is_author = model.authors.get(&message_id.0) == Some(&account);
    let changes = match random.next() % 4 {
        0 => {
            let text = format!("edited {}", random.next());
            let body = NewBody::text(&text);
            let edit = MessageEdit { author: account, origin, conversation_id, message_id, body };
            let expected = expected.and(if is_author { Ok(()) } else { Err(Refusal::NotTheAuthor) });
            let expected = expected.and(if is_erased { Err(Refusal::Recalled) } else { Ok(()) });
            let expected = expected.and(model.check_sender(account, conversation_id));
            let said = refusal(store, edit).await;
            if said == Err(Refusal::EditedOften) {
                return;
            }
            assert_eq!(said, expected, "{account} edits {message_id}");
            if said.is_ok() {
                let message = &mut model.records[at].message.as_mut().expect("it is one").1;
                let before = std::mem::replace(message, text);
                model.as_sent.entry(message_id.0).or_insert(before);
            }
            said.is_ok()
        }
        1 => {
            let recall = MessageRecall { by: account, origin, conversation_id, message_id };
            let is_admin = model.info(account, conversation_id).is_some_and(|info| info.role >= MemberRole::Admin);
            let allowed = if is_author || is_admin || is_erased { Ok(()) } else { Err(Refusal::NotTheAuthor) };
            let said = refusal(store, recall).await;
            assert_eq!(said, expected.and(allowed), "{account} recalls {message_id}");
            if said.is_ok() {
                model.records[at].message.as_mut().expect("it is one").1 = ERASED.to_owned();
                model.reactions.retain(|(message, ..)| *message != message_id.0);
                model.as_sent.remove(&message_id.0);
            }
            said.is_ok() && !is_erased
        }
        _ => {
            let (emoji, add) = (["a", "b"][index(random, 2)].to_owned(), random.next().is_multiple_of(2));
            let react =
                MessageReact { account_id: account, origin, conversation_id, message_id, emoji: emoji.clone(), add };
            let key = (message_id.0, emoji, account);
            let is_there = model.reactions.contains(&key);
            let expected = expected.and(if is_erased { Err(Refusal::Recalled) } else { Ok(()) });
            let said = refusal(store, react).await;
            assert_eq!(said, expected, "{account} reacts to {message_id}");
            if said.is_ok() && add {
                model.reactions.insert(key);
            } else if said.is_ok() {
                model.reactions.remove(&key);
            }
            said.is_ok() && is_there != add
        }
    };
    if changes {
        let gseq = model.last() + 1;
        model.about.insert(gseq, message_id.0);
        model.records.push(Known { gseq, audience: Audience::Conversation(conversation_id), message: None });
    }
}

/// Whether the account can act on the message at all.
fn expected(model: &Model, account: AccountId, conversation: ConversationId, at: usize) -> Result<(), Refusal> {
    if !model.is_member(account, conversation) {
        Err(Refusal::NoSuchConversation)
    } else if !model.sees(account, &model.records[at]) {
        Err(Refusal::NoSuchMessage)
    } else {
        Ok(())
    }
}

async fn refusal<W: Write>(store: &Store, command: W) -> Result<(), Refusal> {
    store.write(command).await.expect("stored").map(|_| ())
}

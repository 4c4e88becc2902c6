//! What edits, recalls and reactions make of a message that is held.

use posthouse_protocol::{Body, Event, Message, Reacted, Reaction, limits};

/// Something happened to the message.
pub(super) fn change(message: &mut Message, event: &Event) {
    match event {
        Event::MessageEdited(edited) => {
            message.body = edited.body.clone();
            message.edited_ts = Some(edited.edited_ts);
        }
        Event::MessageRecalled(recalled) => {
            message.body = Body::Recalled { by: recalled.by, ts: recalled.ts };
            (message.reply_to, message.mentions, message.edited_ts) = (None, None, None);
            message.reactions.clear();
        }
        Event::Reaction(reacted) => react(&mut message.reactions, reacted),
        _ => {}
    }
}

/// Puts a reaction into a message's list: its count is told with it, so that one that comes twice does nothing.
fn react(reactions: &mut Vec<Reaction>, reacted: &Reacted) {
    let who = reacted.account.account_id;
    let at = reactions.iter().position(|reaction| reaction.emoji == reacted.emoji).unwrap_or_else(|| {
        reactions.push(Reaction { emoji: reacted.emoji.clone(), count: 0, accounts: Vec::new() });
        reactions.len() - 1
    });
    let reaction = &mut reactions[at];
    reaction.count = reacted.count;
    reaction.accounts.retain(|account| *account != who);
    if reacted.added {
        reaction.accounts.push(who);
        reaction.accounts.sort_unstable();
        reaction.accounts.truncate(limits::REACTION_ACCOUNTS_SHOWN);
    }
    reactions.retain(|reaction| reaction.count > 0);
}

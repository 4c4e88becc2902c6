//! Muting and pinning.

use posthouse_protocol::{
    ConversationsMute, ConversationsMuteParams, ConversationsPin, ConversationsPinParams, ErrorBody, Preferences,
};

use super::call::{Caller, Ordered};
use crate::store::PreferencesSet;

impl Ordered for ConversationsMute {
    type Command = PreferencesSet;

    fn command(caller: Caller, params: ConversationsMuteParams) -> Result<PreferencesSet, ErrorBody> {
        let ConversationsMuteParams { conversation_id, muted, until } = params;
        let Caller { account_id, origin, .. } = caller;
        Ok(PreferencesSet { account_id, origin, conversation_id, muted: Some((muted, until)), pinned: None })
    }

    fn result(preferences: Preferences) -> Preferences {
        preferences
    }
}

impl Ordered for ConversationsPin {
    type Command = PreferencesSet;

    fn command(caller: Caller, params: ConversationsPinParams) -> Result<PreferencesSet, ErrorBody> {
        let ConversationsPinParams { conversation_id, pinned } = params;
        let Caller { account_id, origin, .. } = caller;
        Ok(PreferencesSet { account_id, origin, conversation_id, muted: None, pinned: Some(pinned) })
    }

    fn result(preferences: Preferences) -> Preferences {
        preferences
    }
}

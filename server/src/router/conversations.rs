//! Conversations: listing, finding, making them.

use posthouse_protocol::{
    Conversation, ConversationsDirect, ConversationsDirectParams, ConversationsGet, ConversationsGetParams,
    ConversationsList, ConversationsListParams, ConversationsListResult, ErrorBody, limits,
};

use super::call::{Caller, Change, Read};
use super::{Inner, invalid, page_limit, refused};
use crate::store::{Committed, DirectOpen, Refusal};

impl Read for ConversationsList {
    type Answer = ConversationsListResult;

    async fn read(
        inner: &Inner,
        caller: Caller,
        params: ConversationsListParams,
    ) -> Result<ConversationsListResult, ErrorBody> {
        let ConversationsListParams { after, limit } = params;
        let limit = page_limit(limit, limits::PAGE_LIMIT_DEFAULT, limits::PAGE_LIMIT_MAX)?;
        inner.count_receipts_of(caller.account_id).await?;
        let page = inner.read(move |snapshot| snapshot.conversations(caller.account_id, after.as_ref(), limit));
        let page = page.await?.ok_or_else(|| invalid("after: no page of this list ended with it"))?;
        Ok(ConversationsListResult { conversations: page.conversations, next: page.next })
    }
}

impl Read for ConversationsGet {
    type Answer = Conversation;

    async fn read(inner: &Inner, caller: Caller, params: ConversationsGetParams) -> Result<Conversation, ErrorBody> {
        inner.count_receipts_of(caller.account_id).await?;
        inner
            .read(move |snapshot| snapshot.conversation(caller.account_id, params.conversation_id))
            .await?
            .ok_or_else(|| refused(Refusal::NoSuchConversation))
    }
}

impl Change for ConversationsDirect {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsDirectParams,
    ) -> Result<Committed<Conversation>, ErrorBody> {
        let peer = inner.read(move |snapshot| snapshot.account_by_name(&params.username)).await?;
        let peer = peer.ok_or_else(|| refused(Refusal::NoSuchAccount))?.account;
        let open = DirectOpen { account_id: caller.account_id, peer_id: peer.account_id };
        let opened = inner.write(open).await?;
        let (conversation_id, _) = *opened;
        let found = inner.read(move |snapshot| snapshot.conversation(caller.account_id, conversation_id)).await?;
        let found = found.ok_or_else(|| refused(Refusal::NoSuchConversation))?;
        Ok(opened.map(|_| found))
    }
}

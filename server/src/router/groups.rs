//! Groups and their members.

use posthouse_protocol::admin::{GroupEverybodyParams, GroupEverybodyResult};
use posthouse_protocol::{
    AccountId, ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsAddResult, ConversationsCreate,
    ConversationsCreateParams, ConversationsCreateResult, ConversationsLeave, ConversationsLeaveParams,
    ConversationsMembers, ConversationsMembersParams, ConversationsMembersResult, ConversationsRemove,
    ConversationsRemoveParams, ConversationsRole, ConversationsRoleParams, ConversationsUpdate,
    ConversationsUpdateParams, Empty, ErrorBody, ErrorCode, HistoryAccess, PageToken, Username, limits,
};

use super::call::{Caller, Change, Read};
use super::{Inner, Router, invalid, page_limit, refused};
use crate::store::{
    Committed, EverybodyFill, EverybodyOpen, GroupCreate, GroupLeave, GroupRole, GroupSettings, GroupUpdate,
    MemberRemove, MembersAdd, Refusal,
};

impl Change for ConversationsCreate {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsCreateParams,
    ) -> Result<Committed<ConversationsCreateResult>, ErrorBody> {
        let ConversationsCreateParams { title, members, announcement_only, history, client_msg_id } = params;
        let members = inner.accounts_named(members).await?;
        let announcement_only = announcement_only.unwrap_or(false);
        let settings = GroupSettings { title, announcement_only, history: history.unwrap_or_default() };
        let made = inner.write(GroupCreate { owner: caller.account_id, settings, members, client_msg_id }).await?;
        Ok(made.map(|conversation_id| ConversationsCreateResult { conversation_id }))
    }
}

impl Change for ConversationsUpdate {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsUpdateParams,
    ) -> Result<Committed<Empty>, ErrorBody> {
        let ConversationsUpdateParams { conversation_id, title, announcement_only, history } = params;
        let actor = caller.account_id;
        let update = GroupUpdate { actor, conversation_id, title, announcement_only, history };
        Ok(inner.write(update).await?.map(|()| Empty {}))
    }
}

impl Read for ConversationsMembers {
    type Answer = ConversationsMembersResult;

    async fn read(
        inner: &Inner,
        caller: Caller,
        params: ConversationsMembersParams,
    ) -> Result<ConversationsMembersResult, ErrorBody> {
        let ConversationsMembersParams { conversation_id, after, limit } = params;
        let limit = page_limit(limit, limits::PAGE_LIMIT_DEFAULT, limits::PAGE_LIMIT_MAX)?;
        let after = after.map_or(Ok(AccountId(0)), |token| parse_member(&token))?;
        let page = inner.read(move |snapshot| snapshot.members(caller.account_id, conversation_id, after, limit));
        let page = page.await?.ok_or_else(|| refused(Refusal::NoSuchConversation))?;
        Ok(ConversationsMembersResult { members: page.members, next: page.next })
    }
}

impl Change for ConversationsAdd {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsAddParams,
    ) -> Result<Committed<ConversationsAddResult>, ErrorBody> {
        let ConversationsAddParams { conversation_id, members } = params;
        if members.is_empty() {
            return Err(invalid("members: at least one"));
        }
        inner.check_member(caller, conversation_id).await?;
        let members = inner.accounts_named(members).await?;
        let added = inner.write(MembersAdd { actor: caller.account_id, conversation_id, members }).await?;
        Ok(added.map(|added| ConversationsAddResult { added }))
    }
}

impl Change for ConversationsRemove {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsRemoveParams,
    ) -> Result<Committed<Empty>, ErrorBody> {
        let ConversationsRemoveParams { conversation_id, member } = params;
        let member = inner.member_named(caller, conversation_id, member).await?;
        let remove = MemberRemove { actor: caller.account_id, conversation_id, member };
        Ok(inner.write(remove).await?.map(|()| Empty {}))
    }
}

impl Change for ConversationsRole {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsRoleParams,
    ) -> Result<Committed<Empty>, ErrorBody> {
        let ConversationsRoleParams { conversation_id, member, role } = params;
        let member = inner.member_named(caller, conversation_id, member).await?;
        let change = GroupRole { actor: caller.account_id, conversation_id, member, role };
        Ok(inner.write(change).await?.map(|()| Empty {}))
    }
}

impl Change for ConversationsLeave {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: ConversationsLeaveParams,
    ) -> Result<Committed<Empty>, ErrorBody> {
        let leave = GroupLeave { account_id: caller.account_id, conversation_id: params.conversation_id };
        Ok(inner.write(leave).await?.map(|()| Empty {}))
    }
}

impl Router {
    /// Makes the group that every account is in, or completes it. Repeating it is harmless.
    ///
    /// # Errors
    /// `not_found` where there is no such owner.
    pub async fn group_for_everybody(
        &self,
        params: GroupEverybodyParams,
    ) -> Result<Committed<GroupEverybodyResult>, ErrorBody> {
        let GroupEverybodyParams { title, owner, announcement_only, history } = params;
        let owner = self.inner.accounts_named(vec![owner]).await?[0];
        let announcement_only = announcement_only.unwrap_or(false);
        let settings = GroupSettings { title, announcement_only, history: history.unwrap_or(HistoryAccess::All) };
        let opened = self.inner.write(EverybodyOpen { owner, settings }).await?;
        let mut added = 0;
        loop {
            match *self.inner.write(EverybodyFill).await? {
                0 => return Ok(opened.map(|conversation_id| GroupEverybodyResult { conversation_id, added })),
                some => added += some as u64,
            }
        }
    }
}

impl Inner {
    /// The accounts of these names.
    async fn accounts_named(&self, names: Vec<Username>) -> Result<Vec<AccountId>, ErrorBody> {
        if names.len() > limits::MEMBERS_CHANGE_MAX {
            return Err(invalid(format!("members: at most {} at once", limits::MEMBERS_CHANGE_MAX)));
        }
        let found = self.read(move |snapshot| {
            let mut found = Vec::with_capacity(names.len());
            for name in names {
                match snapshot.account_by_name(&name)? {
                    Some(row) => found.push(row.account.account_id),
                    None => return Ok(Err(name)),
                }
            }
            Ok(Ok(found))
        });
        let unknown = |name| ErrorBody::new(ErrorCode::NotFound, format!("there is no account {name}"));
        found.await?.map_err(unknown)
    }

    /// What the caller is no member of answers like nothing, whatever else may be wrong with the call.
    async fn check_member(&self, caller: Caller, conversation_id: ConversationId) -> Result<(), ErrorBody> {
        let found = self.read(move |snapshot| snapshot.conversation(caller.account_id, conversation_id)).await?;
        found.map(|_| ()).ok_or_else(|| refused(Refusal::NoSuchConversation))
    }

    /// The account of that name, as somebody who may be in a conversation of the caller's.
    async fn member_named(
        &self,
        caller: Caller,
        conversation_id: ConversationId,
        name: Username,
    ) -> Result<AccountId, ErrorBody> {
        self.check_member(caller, conversation_id).await?;
        let found = self.read(move |snapshot| snapshot.account_by_name(&name)).await?;
        Ok(found.ok_or_else(|| refused(Refusal::NoSuchMember))?.account.account_id)
    }
}

fn parse_member(token: &PageToken) -> Result<AccountId, ErrorBody> {
    let parsed = token.0.parse().ok().map(AccountId).filter(|account| account.to_string() == token.0);
    parsed.ok_or_else(|| invalid("after: no page of this list ended with it"))
}

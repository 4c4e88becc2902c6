//! Invites: how people make their own accounts.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{
    Account, DisplayName, Empty, InviteCode, InviteId, LoginResult, PageToken, Password, TimestampMs, Username,
};

methods! {
    /// Makes an invite. For administrators.
    InvitesCreate = "invites.create", InvitesCreateParams => InvitesCreateResult;
    /// The invites that can be used, page by page. For administrators.
    InvitesList = "invites.list", InvitesListParams => InvitesListResult;
    /// Makes an invite void. For administrators.
    InvitesRevoke = "invites.revoke", InvitesRevokeParams => Empty;
    /// Makes an account and logs in. Needs no `connect`.
    InvitesAccept = "invites.accept", InvitesAcceptParams => LoginResult;
}

/// An invite. Its code is known to whom it was shown, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Invite {
    /// Names it in `invites.revoke`.
    pub invite_id: InviteId,
    /// Who made it.
    pub created_by: Account,
    /// When.
    pub created: TimestampMs,
    /// For how many more seconds of serving it can be used.
    pub expires_in_s: u64,
    /// How many more accounts it can make.
    pub uses_left: u32,
}

/// Parameters of `invites.create`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvitesCreateParams {
    /// How long it can be used: 1 to [`crate::limits::INVITE_LIFE_S_MAX`], by default
    /// [`crate::limits::INVITE_LIFE_S_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::INVITE_LIFE_S_MAX)))]
    pub expires_in_s: Option<u64>,
    /// How many accounts it can make: 1 to [`crate::limits::INVITE_USES_MAX`], by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::INVITE_USES_MAX)))]
    pub uses: Option<u32>,
}

/// Result of `invites.create`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InvitesCreateResult {
    /// What the invited person types: shown here and never again.
    pub code: InviteCode,
    /// As it stands in the list.
    pub invite: Invite,
}

/// Parameters of `invites.list`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvitesListParams {
    /// `next` of the page before; without it, the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PageToken>,
    /// How many at most: 1 to [`crate::limits::PAGE_LIMIT_MAX`], by default [`crate::limits::PAGE_LIMIT_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::PAGE_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

/// Result of `invites.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InvitesListResult {
    /// By their numbers, which say nothing.
    pub invites: Vec<Invite>,
    /// Where the next page begins; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Parameters of `invites.revoke`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvitesRevokeParams {
    /// Which.
    pub invite_id: InviteId,
}

/// Parameters of `invites.accept`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InvitesAcceptParams {
    /// From `invites.create`.
    pub code: InviteCode,
    /// The name to log in with; must be free.
    pub username: Username,
    /// The name to be shown.
    #[serde(default, deserialize_with = "crate::visible::wanted_or_none", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// The new account's password.
    pub password: Password,
    /// A name for this device, as for `login`.
    #[cfg_attr(test, schemars(length(min = 1, max = crate::limits::DEVICE_NAME_CHARS_MAX)))]
    pub device: String,
}

//! Accounts: who there is, and what administrators do with them.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{AccountId, DevicesListResult, DisplayName, Empty, PageToken, Password, Username};

methods! {
    /// One's own account.
    AccountsMe = "accounts.me", Empty => Profile;
    /// Changes what the account says of itself.
    AccountsUpdate = "accounts.update", AccountsUpdateParams => Profile;
    /// Accounts by the beginnings of their names, page by page.
    AccountsSearch = "accounts.search", AccountsSearchParams => AccountsSearchResult;
    /// One account.
    AccountsGet = "accounts.get", AccountsGetParams => Profile;
    /// Makes an account. For administrators, as are all that follow.
    AccountsCreate = "accounts.create", AccountsCreateParams => AccountWithPassword;
    /// Signs all devices out and lets nobody log in.
    AccountsDisable = "accounts.disable", AccountParams => Profile;
    /// Takes `accounts.disable` back.
    AccountsEnable = "accounts.enable", AccountParams => Profile;
    /// Gives another password and signs all devices out.
    AccountsReset = "accounts.reset", AccountsResetParams => AccountWithPassword;
    /// Gives another role. For owners.
    AccountsRole = "accounts.role", AccountsRoleParams => Profile;
    /// The person leaves for good: messages stay, devices are signed out, what they owned is handed over.
    AccountsDepart = "accounts.depart", AccountParams => Profile;
    /// The account's devices.
    AccountsDevices = "accounts.devices", AccountParams => DevicesListResult;
    /// Signs all devices of the account out.
    AccountsSignOut = "accounts.sign_out", AccountParams => Empty;
}

/// An account as messages and conversations name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// Never given to another account.
    pub account_id: AccountId,
    /// The name to log in with and to be found by.
    pub username: Username,
}

/// What everybody may know of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Profile {
    /// Never given to another account.
    pub account_id: AccountId,
    /// The name to log in with and to be found by; never changes.
    pub username: Username,
    /// The name to be shown, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// What it may do on this site.
    pub role: AccountRole,
    /// Whether somebody may log in.
    pub status: AccountStatus,
}

impl Profile {
    /// As messages and conversations name it.
    pub fn account(&self) -> Account {
        Account { account_id: self.account_id, username: self.username.clone() }
    }
}

/// What an account may do on this site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountRole {
    /// Everything; there is always one at least.
    Owner,
    /// Makes accounts and invites, and looks after those of members.
    Administrator,
    /// Chats.
    #[default]
    Member,
    /// A role of a later version: what a member may.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// Whether somebody may log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// Yes.
    #[default]
    Active,
    /// No, until an administrator enables it.
    Disabled,
    /// No: the person has left. Their messages stay.
    Departed,
    /// A status of a later version: no.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// Parameters of the methods that take an account and nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountParams {
    /// Which.
    pub account_id: AccountId,
}

/// Parameters of `accounts.update`. What is left out stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsUpdateParams {
    /// The name to be shown.
    #[serde(default, deserialize_with = "crate::visible::wanted_or_none", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
}

/// Parameters of `accounts.search`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsSearchParams {
    /// The beginning of a user name, of a display name or of a word of it; upper and lower case are the same. Empty:
    /// everybody.
    #[cfg_attr(test, schemars(length(max = crate::limits::DISPLAY_NAME_CHARS_MAX)))]
    pub query: String,
    /// `next` of the page before; without it, the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PageToken>,
    /// How many at most: 1 to [`crate::limits::PAGE_LIMIT_MAX`], by default [`crate::limits::PAGE_LIMIT_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::PAGE_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

/// Result of `accounts.search`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccountsSearchResult {
    /// In the order of the names that were found, each account once. Who has departed is left out.
    pub accounts: Vec<Profile>,
    /// Where the next page begins; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Parameters of `accounts.get`: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsGetParams {
    /// By number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Username>,
}

/// Parameters of `accounts.create`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsCreateParams {
    /// The name to log in with; must be free.
    pub username: Username,
    /// The name to be shown.
    #[serde(default, deserialize_with = "crate::visible::wanted_or_none", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// `member` if left out; another one takes an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<AccountRole>,
    /// The initial password; without one, the server makes one up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// Whether that password may stay; if not, and by default, it has to be changed before the first log-in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_password: bool,
}

/// Result of what gives an account a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccountWithPassword {
    /// Whose.
    pub account: Profile,
    /// The password that the server made up: shown here and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// Parameters of `accounts.reset`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsResetParams {
    /// Whose password.
    pub account_id: AccountId,
    /// The new one; without one, the server makes one up. It has to be changed before the next log-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// Parameters of `accounts.role`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsRoleParams {
    /// Whose role.
    pub account_id: AccountId,
    /// The new one.
    pub role: AccountRole,
}

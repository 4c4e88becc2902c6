//! Methods of the local administration socket: the same envelope, one JSON object a line, for the
//! machine's administrator only.

use serde::{Deserialize, Serialize};

use crate::{
    Account, AccountRole, ConversationId, Empty, Fingerprint, HistoryAccess, Method, TimestampMs, Title, Username,
};

/// Longest line, in bytes: room for a chain of certificates and its key.
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// Makes an account.
pub enum AccountAdd {}

impl Method for AccountAdd {
    const NAME: &'static str = "account.add";
    type Params = AccountAddParams;
    type Result = Account;
}

/// Parameters of `account.add`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountAddParams {
    /// Its name; an existing one is refused with `already_exists`.
    pub username: Username,
    /// [`crate::limits::PASSWORD_CHARS_MIN`] characters or more.
    #[cfg_attr(test, schemars(length(min = crate::limits::PASSWORD_CHARS_MIN, max = crate::limits::PASSWORD_LEN_MAX)))]
    #[cfg_attr(test, schemars(extend("x-max-bytes" = crate::limits::PASSWORD_LEN_MAX)))]
    pub password: String,
    /// Its role; without one, the first account is the owner's and the others are members'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<AccountRole>,
}

impl std::fmt::Debug for AccountAddParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountAddParams").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Makes the group that every account is in, now and later; where there is one, it completes that one.
pub enum GroupEverybody {}

impl Method for GroupEverybody {
    const NAME: &'static str = "group.everybody";
    type Params = GroupEverybodyParams;
    type Result = GroupEverybodyResult;
}

/// Parameters of `group.everybody`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupEverybodyParams {
    /// What it is to be called.
    #[serde(deserialize_with = "crate::visible::wanted")]
    pub title: Title,
    /// Who is to own it.
    pub owner: Username,
    /// Whether only the owner and admins may send; by default all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement_only: Option<bool>,
    /// What newcomers see; by default `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
}

/// Result of `group.everybody`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GroupEverybodyResult {
    /// Names the group in the other methods.
    pub conversation_id: ConversationId,
    /// How many accounts were not in it before.
    pub added: u64,
}

/// Says for how long the site keeps what was said.
pub enum RetentionGet {}

impl Method for RetentionGet {
    const NAME: &'static str = "retention.get";
    type Params = Empty;
    type Result = Retention;
}

/// Sets for how long the site keeps what was said. What is older is erased soon after, for good.
pub enum RetentionSet {}

impl Method for RetentionSet {
    const NAME: &'static str = "retention.set";
    type Params = Retention;
    type Result = Retention;
}

/// For how long a site keeps what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// In days of serving: [`crate::limits::RETENTION_DAYS_MIN`] to [`crate::limits::RETENTION_DAYS_MAX`], or for ever
    /// without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = crate::limits::RETENTION_DAYS_MIN, max = crate::limits::RETENTION_DAYS_MAX)))]
    pub days: Option<u32>,
}

/// Says which certificates the site shows.
pub enum CertificateGet {}

impl Method for CertificateGet {
    const NAME: &'static str = "certificate.get";
    type Params = Empty;
    type Result = SiteCertificate;
}

/// Shows a certificate of the owner's own from now on, where clients ask for one of its names.
pub enum CertificateInstall {}

impl Method for CertificateInstall {
    const NAME: &'static str = "certificate.install";
    type Params = CertificateInstallParams;
    type Result = SiteCertificate;
}

/// Forgets the owner's own certificate.
pub enum CertificateRemove {}

impl Method for CertificateRemove {
    const NAME: &'static str = "certificate.remove";
    type Params = Empty;
    type Result = SiteCertificate;
}

/// Parameters of `certificate.install`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CertificateInstallParams {
    /// The certificate, and behind it those that signed it; PEM.
    pub chain: String,
    /// Its private key, without a passphrase; PEM.
    pub key: String,
}

impl std::fmt::Debug for CertificateInstallParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateInstallParams").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Result of the methods about certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SiteCertificate {
    /// By which clients know the box; 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub fingerprint: Option<Fingerprint>,
    /// The owner's own, if one is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnCertificateState>,
}

/// A certificate of the owner's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnCertificateState {
    /// DNS names that it is for.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub not_after: TimestampMs,
}

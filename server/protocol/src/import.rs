//! Making many accounts from a table.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{Password, Profile};

methods! {
    /// Makes accounts from a table, all of them or none. For administrators.
    AccountsImport = "accounts.import", AccountsImportParams => AccountsImportResult;
}

/// Parameters of `accounts.import`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AccountsImportParams {
    /// The table as text with commas (RFC 4180): a line with the names of the columns, which are `username` and, in
    /// any order and where they are there, `display_name` and `password`; then at most
    /// [`crate::limits::IMPORT_ROWS_MAX`] rows.
    pub csv: String,
    /// Where the rows are a part of a longer file: which line of it the first row is. By default 2.
    #[serde(default, deserialize_with = "crate::ids::exact_or_none", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(max = crate::limits::NUMBER_MAX)))]
    pub first_line: Option<u64>,
    /// Only says what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Result of `accounts.import`. Where there are errors, nothing was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccountsImportResult {
    /// Accounts that were made; with `dry_run` none.
    pub made: Vec<ImportedAccount>,
    /// How many rows make an account, or would.
    pub new: u32,
    /// How many rows name an account that was there already, and stays as it is.
    pub unchanged: u32,
    /// What is wrong with the table.
    pub errors: Vec<ImportError>,
}

/// An account that was made for a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImportedAccount {
    /// The row's line in the file.
    pub line: u64,
    /// What was made.
    pub account: Profile,
    /// The password that the server made up, where the row gave none: shown here and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
}

/// A row that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImportError {
    /// Its line in the file.
    pub line: u64,
    /// What is wrong, for people.
    pub message: String,
}

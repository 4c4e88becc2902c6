//! Updates of the server: what the box's updater says of itself, and the JSON of `/api/v1/update`.
//!
//! The first half is also what `posthouse-updater` leaves in its status file, which a later server reads: fields are only ever
//! added, and each of them may be missing.

use serde::{Deserialize, Serialize};

/// Where the status is; the rest lies below.
pub const UPDATE_PATH: &str = "/api/v1/update";

/// Longest bundle that is taken, in bytes: its binary of at most 64 MiB, and room for what is signed before it.
pub const BUNDLE_LEN_MAX: u64 = 72 * 1024 * 1024;

/// Entries of its history that a box shows, the newest first.
pub const HISTORY_SHOWN_MAX: usize = 50;

/// For so many days at most an update is postponed at once.
pub const POSTPONED_DAYS_MAX: u32 = 90;

/// Whether a server came with the image or was installed on top of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// With the image; always there.
    #[default]
    Factory,
    /// By an update.
    Installed,
}

/// A version of the server that is on the box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct SlotInfo {
    /// Where it came from.
    pub kind: SlotKind,
    /// As it calls itself.
    pub version: String,
    /// Hash of its binary, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Of the root by whose keys it was signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Its number in that generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Names of the keys that have signed it; none for what came with the image.
    pub signed_by: Vec<String>,
    /// When it was made, in days since 1970-01-01, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_day: Option<u32>,
    /// From this day on there should be a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_day: Option<u32>,
    /// What was new in it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

/// A version that has to prove itself before it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TrialInfo {
    /// What is tried.
    pub slot: SlotInfo,
    /// How often it may still be started.
    pub starts_left: u8,
    /// How often it may still crash.
    pub crashes_left: u8,
}

/// How far a box has come; nothing older is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RatchetInfo {
    /// Of the root.
    pub generation: u32,
    /// Whatever comes in this generation must be above.
    pub seq: u64,
    /// Nothing below is gone back to.
    pub min_seq: u64,
}

/// Whose signatures count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RootInfo {
    /// Which root it is; each next one is signed by the one before.
    pub version: u32,
    /// Rises when keys were stolen.
    pub generation: u32,
    /// How many of the keys have to sign.
    pub threshold: u32,
    /// Their names.
    pub keys: Vec<String>,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateOutcome {
    /// The new version runs.
    Confirmed,
    /// It was tried and given up: the one before runs again.
    RolledBack,
    /// Somebody went back to the version before.
    WentBack,
}

/// The last change that came to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateVerdict {
    /// How.
    pub outcome: UpdateOutcome,
    /// Of which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

/// The last request that was not carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct UpdateRefusal {
    /// Why, for people.
    pub reason: String,
    /// When, by the box's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// Hash of the bundle's file, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

/// Something that has happened: a line of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct HistoryEntry {
    /// When, by the box's clock; missing where that was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// `installed`, `confirmed`, `rolled_back`, `went_back`, `refused`, or what a later updater calls it.
    pub what: String,
    /// Which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who wanted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the box's updater says: the content of its status file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct UpdateState {
    /// What runs, unless something is being tried.
    pub current: SlotInfo,
    /// What can be gone back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<SlotInfo>,
    /// What is being tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialInfo>,
    /// How far the box has come.
    pub ratchet: RatchetInfo,
    /// Whose signatures count.
    pub root: RootInfo,
    /// How the last change ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<UpdateVerdict>,
    /// The last request that was refused, until another one is carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<UpdateRefusal>,
    /// Whether a request is being carried out right now: a bundle is being verified and unpacked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub busy: bool,
    /// What has happened, the newest first; [`HISTORY_SHOWN_MAX`] at most.
    pub history: Vec<HistoryEntry>,
    /// What is wrong with the updater itself, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What the server asks of the updater, by a file in its inbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum UpdateRequest {
    /// Try this bundle.
    Install {
        /// Hash of its file, 64 hexadecimal digits, by which it lies in the inbox.
        bundle: String,
        /// Who wants it, for the audit.
        by: String,
    },
    /// Go back to the version before.
    Rollback {
        /// Who wants it, for the audit.
        by: String,
        /// The oldest schema whose servers can read the database as it is now, or will be within seconds.
        #[serde(default)]
        needs: u32,
    },
}

/// Where updates come from, and when they are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateSource {
    /// Where the box looks for updates by itself; without it, it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which updates are meant for it.
    pub channel: String,
    /// Whether it installs them by itself.
    pub automatic: bool,
    /// When it does, in its own time: `03:00-05:00`.
    pub window: String,
    /// When it has looked last, by its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_ms: Option<u64>,
    /// Until then it installs nothing by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed_until_ms: Option<u64>,
    /// Why it installs nothing by itself at present, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// A bundle that could be installed. What it says of itself is verified when it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AvailableUpdate {
    /// As it calls itself.
    pub version: String,
    /// Of the root by whose keys it is signed.
    pub generation: u32,
    /// Its number in that generation.
    pub seq: u64,
    /// What is new, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Length of the bundle, in bytes.
    pub length: u64,
    /// Hash of its file, once it is whole on the box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// When it is installed by itself, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
}

/// What takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UpdateStep {
    /// A bundle comes from the update URL.
    Downloading,
    /// A bundle comes from somebody's device.
    Uploading,
    /// The updater looks at it.
    Verifying,
    /// The new version runs and has to prove itself.
    Trying,
}

/// How far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateProgress {
    /// What.
    pub what: UpdateStep,
    /// How much is done, in bytes; 0 where nobody can say.
    pub done: u64,
    /// Of how much, in bytes; 0 where nobody can say.
    pub total: u64,
}

/// What `GET /api/v1/update` answers, and each request below it that changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateStatus {
    /// What the updater says.
    #[serde(flatten)]
    pub state: UpdateState,
    /// Where updates come from.
    pub source: UpdateSource,
    /// What could be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<AvailableUpdate>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<UpdateProgress>,
    /// Whether there should be a newer version by now, by the box's clock. It never keeps anybody from anything.
    pub stale: bool,
    /// For those who look after the box: what is due, or what they should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Why the last look for updates, or the last download, came to nothing, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What `GET /api/v1/update/history` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UpdateHistory {
    /// What has happened, the newest first.
    pub history: Vec<HistoryEntry>,
}

/// The body of `POST /api/v1/update/apply`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Hash of the file of a bundle that was uploaded; without it, what the update URL has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

/// The body of `POST /api/v1/update/postpone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PostponeParams {
    /// For so many days from now nothing is installed by itself; 0 ends that.
    #[cfg_attr(test, schemars(range(max = POSTPONED_DAYS_MAX)))]
    pub days: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_updater_that_says_more_or_less_is_understood() {
        let state: UpdateState =
            serde_json::from_str(r#"{"current":{"version":"1","hue":"red"},"later":7}"#).expect("read");
        assert_eq!(state.current.version, "1");
        assert_eq!(state.current.kind, SlotKind::Factory);
        assert_eq!(serde_json::from_str::<UpdateState>("{}").expect("read"), UpdateState::default());
        let status = UpdateStatus { state, ..UpdateStatus::default() };
        let again: UpdateStatus =
            serde_json::from_str(&serde_json::to_string(&status).expect("JSON")).expect("reads itself");
        assert_eq!(again, status);
    }

    #[test]
    fn a_request_is_one_of_two() {
        let read = |text: &str| serde_json::from_str::<UpdateRequest>(text).ok();
        let by = "anna".to_owned();
        let install = UpdateRequest::Install { bundle: "00".to_owned(), by: by.clone() };
        assert_eq!(read(r#"{"request":"install","bundle":"00","by":"anna"}"#), Some(install));
        assert_eq!(read(r#"{"request":"rollback","by":"anna"}"#), Some(UpdateRequest::Rollback { by, needs: 0 }));
        for odd in [r#"{"request":"install","by":"anna"}"#, r#"{"request":"format","by":"anna"}"#, "{}"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}

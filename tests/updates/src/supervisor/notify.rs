//! What services say of themselves (man sd_notify): a socket for each.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use super::Event;

/// Longer than anything that is said.
const NOTICE_LEN_MAX: usize = 4096;

/// Where a unit says it.
pub fn path(folder: &Path, unit: &str) -> PathBuf {
    folder.join(format!("{unit}.notify"))
}

/// Listens until nobody wants to hear of it; the socket's thread ends with the test's process at the latest.
pub fn listen(folder: &Path, unit: &str, events: Sender<Event>) {
    let socket = UnixDatagram::bind(path(folder, unit)).expect("a socket");
    let unit = unit.to_owned();
    std::thread::spawn(move || {
        let mut notice = [0; NOTICE_LEN_MAX];
        while let Ok(len) = socket.recv(&mut notice) {
            let text = String::from_utf8_lossy(&notice[..len]).into_owned();
            if events.send(Event::Noticed { unit: unit.clone(), text }).is_err() {
                return;
            }
        }
    });
}

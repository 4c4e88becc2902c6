//! What the watch sees of the box itself, beside what the server says: files of the kernel, of systemd and of the disk's units, and
//! the addresses. Whatever can't be read is not known; nothing here fails.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use posthouse_protocol::appliance::Settings;

/// Where the disk's units leave the reason why there can be no chat.
const RESCUE: &str = "run/posthouse-data/rescue";

/// What provisioning has read from the card.
const SETTINGS: &str = "run/posthouse-settings/settings.json";

/// The Wi-Fi networks that iwd knows, a file each.
const KNOWN_NETWORKS: &str = "var/lib/iwd";

/// The data partition.
const DATA: &str = "data";

/// A file of ours is shorter; one that is longer is somebody's mistake, and no reason to fill the memory with it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What was seen at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Senses {
    /// Addresses by which others may reach the box, those of version 4 first.
    pub addresses: Vec<IpAddr>,
    /// The name that the kernel has for the box.
    pub host_name: Option<String>,
    /// Its radio.
    pub wireless: Wireless,
    /// Of the processor, in degrees Celsius.
    pub temperature_c: Option<i32>,
    /// Bytes free on the data partition.
    pub free_bytes: Option<u64>,
    /// The supply's voltage is too low, says the firmware.
    pub is_under_voltage: bool,
    /// Why there can be no chat, a line each; nothing where there can.
    pub rescue: Vec<String>,
    /// What the card's owner wants.
    pub settings: Settings,
}

/// How the radio is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Wireless {
    /// There is none, or nobody asked it to join a network.
    #[default]
    Unused,
    /// Switched off, though there are networks to join.
    Blocked,
    /// Not in any of the networks that it knows, whose names these are.
    Searching(Vec<String>),
    /// In a network.
    Joined,
}

impl Senses {
    /// Looks at the box whose file system begins at `root`.
    pub fn take(root: &Path) -> Self {
        Self {
            addresses: addresses(),
            host_name: line_of(&root.join("proc/sys/kernel/hostname")),
            wireless: wireless(root),
            temperature_c: temperature_c(root),
            free_bytes: free_bytes(&root.join(DATA)),
            is_under_voltage: is_under_voltage(root),
            rescue: text_of(&root.join(RESCUE)).unwrap_or_default().lines().map(str::to_owned).collect(),
            settings: text_of(&root.join(SETTINGS))
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
        }
    }
}

/// A file's text; what is no UTF-8 in it is shown as such.
pub fn text_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn line_of(path: &Path) -> Option<String> {
    Some(text_of(path)?.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

fn number_of(path: &Path) -> Option<i64> {
    line_of(path)?.parse().ok()
}

/// The entries of a folder in the order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let up = interfaces.filter(|interface| {
        interface.flags.contains(InterfaceFlags::IFF_UP) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let mut found: Vec<IpAddr> = up
        .filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::from(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::from(six.ip())))
        })
        // One of version 6 that holds on one link only is of no use without the link's name.
        .filter(|address| !matches!(address, IpAddr::V6(six) if six.is_unicast_link_local()))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn wireless(root: &Path) -> Wireless {
    let radios = entries(&root.join("sys/class/net")).into_iter().filter(|device| device.join("phy80211").exists());
    let states: Vec<String> = radios.filter_map(|device| line_of(&device.join("operstate"))).collect();
    let known = known_networks(&root.join(KNOWN_NETWORKS));
    if states.is_empty() || known.is_empty() {
        return Wireless::Unused;
    }
    if states.iter().any(|state| state == "up") {
        return Wireless::Joined;
    }
    if is_blocked(root) { Wireless::Blocked } else { Wireless::Searching(known) }
}

/// The names of iwd's files: a network's name and the kind of its security; `=` and hexadecimal digits where the name has other
/// characters than letters, digits, blanks, `_` and `-` (iwd.network(5)).
fn known_networks(folder: &Path) -> Vec<String> {
    let files = entries(folder);
    let names = files.iter().filter_map(|path| {
        let is_network =
            path.extension().is_some_and(|kind| ["psk", "open", "8021x"].iter().any(|known| kind == *known));
        let name = path.file_stem()?.to_str()?;
        is_network.then(|| name.strip_prefix('=').and_then(from_hexadecimal).unwrap_or_else(|| name.to_owned()))
    });
    names.collect()
}

fn from_hexadecimal(digits: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|at| digits.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok()))
        .collect();
    String::from_utf8(bytes?).ok()
}

fn is_blocked(root: &Path) -> bool {
    entries(&root.join("sys/class/rfkill")).iter().any(|switch| {
        line_of(&switch.join("type")).as_deref() == Some("wlan")
            && ["soft", "hard"].iter().any(|kind| number_of(&switch.join(kind)) == Some(1))
    })
}

/// The kernel counts in thousandths.
fn temperature_c(root: &Path) -> Option<i32> {
    let zones = entries(&root.join("sys/class/thermal"));
    let hottest = zones.iter().filter_map(|zone| number_of(&zone.join("temp"))).max()?;
    i32::try_from(hottest / 1000).ok()
}

/// Nothing while the partition is not mounted: what the root file system has free is no room for messages.
fn free_bytes(data: &Path) -> Option<u64> {
    if !data.join("posthouse").is_dir() {
        return None;
    }
    let room = nix::sys::statvfs::statvfs(data).ok()?;
    Some(room.blocks_available() * room.fragment_size())
}

/// By the driver of Raspberry Pi's kernel (`rpi_volt`); Debian's has none.
fn is_under_voltage(root: &Path) -> bool {
    entries(&root.join("sys/class/hwmon")).iter().any(|sensor| {
        line_of(&sensor.join("name")).as_deref() == Some("rpi_volt")
            && number_of(&sensor.join("in0_lcrit_alarm")) == Some(1)
    })
}

#[cfg(test)]
mod tests {
    use super::{Senses, Wireless};
    use std::path::Path;

    fn put(root: &Path, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, content).expect("written");
        }
    }

    #[test]
    fn a_box_that_shows_nothing_is_not_known() {
        let root = tempfile::tempdir().expect("a folder");
        let senses = Senses { addresses: Vec::new(), ..Senses::take(root.path()) };
        assert_eq!(senses, Senses::default());
    }

    #[test]
    fn kernel_and_units_are_heard() {
        let root = tempfile::tempdir().expect("a folder");
        put(
            root.path(),
            &[
                ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
                ("sys/class/thermal/cooling_device0/type", "fan\n"),
                ("sys/class/hwmon/hwmon0/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "1\n"),
                ("run/posthouse-data/rescue", "The card is worn out.\nWhat to do: flash another.\n"),
                ("run/posthouse-settings/settings.json", r#"{"language": "zh", "problems": ["line 3: no such key"]}"#),
                ("proc/sys/kernel/hostname", "post\n"),
                ("data/posthouse/posthouse.redb", ""),
            ],
        );
        let senses = Senses::take(root.path());
        assert_eq!(senses.temperature_c, Some(48));
        assert!(senses.is_under_voltage);
        assert_eq!(senses.rescue.len(), 2);
        assert_eq!(senses.settings.problems, ["line 3: no such key"]);
        assert_eq!(senses.host_name.as_deref(), Some("post"));
        assert!(senses.free_bytes.is_some_and(|bytes| bytes > 0));

        put(root.path(), &[("sys/class/hwmon/hwmon0/in0_lcrit_alarm", "0\n")]);
        put(root.path(), &[("run/posthouse-settings/settings.json", "{ rubbish")]);
        let senses = Senses::take(root.path());
        assert!(!senses.is_under_voltage);
        assert_eq!(senses.settings, posthouse_protocol::appliance::Settings::default());
    }

    #[test]
    fn the_radio_is_where_its_networks_and_switches_say() {
        let root = tempfile::tempdir().expect("a folder");
        let wireless = || Senses::take(root.path()).wireless;
        put(root.path(), &[("sys/class/net/wlan0/phy80211/index", "0\n"), ("sys/class/net/wlan0/operstate", "down\n")]);
        assert_eq!(wireless(), Wireless::Unused);
        put(
            root.path(),
            &[("var/lib/iwd/=e6a0a1e59bad.psk", ""), ("var/lib/iwd/School-5.psk", ""), ("var/lib/iwd/main.conf", "")],
        );
        assert_eq!(wireless(), Wireless::Searching(vec!["校园".to_owned(), "School-5".to_owned()]));
        put(root.path(), &[("sys/class/rfkill/rfkill0/type", "wlan\n"), ("sys/class/rfkill/rfkill0/soft", "0\n")]);
        assert_ne!(wireless(), Wireless::Blocked);
        put(root.path(), &[("sys/class/rfkill/rfkill0/soft", "1\n")]);
        assert_eq!(wireless(), Wireless::Blocked);
        put(root.path(), &[("sys/class/net/wlan0/operstate", "up\n")]);
        assert_eq!(wireless(), Wireless::Joined);
    }
}

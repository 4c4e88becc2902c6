//! `posthouse-box provision`: what the files on the card want of the box is applied, at first boot and whenever they change.
//!
//! It reads them at each boot and writes settings of this boot to /run, so that nothing of an earlier boot is left. A file, or a
//! part of one, that can't be understood never stops the boot: it is told, and what was kept of the last good one holds. Secrets
//! are kept on the data partition, and then overwritten on the card.

mod card;
mod kept;
mod network;
mod requests;
pub mod reset;
mod root;
mod system;

use std::io;
use std::path::Path;

use anyhow::Context as _;
use posthouse_protocol::appliance::{self, Settings};

use self::card::CardFile;
use self::kept::Kept;
use self::requests::{FACTORY_RESET, RECOVER_OWNER, Request};
use self::root::{Root, make_open_folder, write_whole};
use crate::boot_partition::BootPartition;
use crate::file::{self, Reading};
use crate::imager;
use crate::problem::Problem;
use crate::wishes::{Wishes, is_overwritten};

/// Where posthoused finds its settings.
const SETTINGS: &str = "run/posthouse-settings/settings.json";

/// The keys that each of Imager's files can set.
const USER_DATA_KEYS: [&str; 2] = ["host_name", "time_zone"];
/// See [`USER_DATA_KEYS`].
const NETWORK_CONFIG_KEYS: [&str; 1] = ["wifi"];
/// All keys.
const KEYS: [&str; 10] = [
    "host_name",
    "site_name",
    "time_zone",
    "language",
    "claim_code",
    "ntp_servers",
    "network",
    "wifi",
    "tls",
    "updates",
];

/// What becomes of a boot.
#[derive(Default)]
struct Boot {
    kept: Kept,
    problems: Vec<String>,
    recover_owner: bool,
    /// The card's files, as far as it could be read.
    files: Vec<CardFile>,
}

/// Reads the card and applies what it says.
///
/// # Errors
/// The server's settings can't be written. Everything else is told in them.
pub fn run() -> anyhow::Result<()> {
    let root = Root::new();
    let (kept, damage) = Kept::load(&root);
    let mut boot = Boot { kept, ..Boot::default() };
    if let Some(damage) = damage {
        boot.tell(damage);
    }
    let card = BootPartition::open().and_then(|card| card.check().map(|()| card));
    let card = card.map_err(|error| boot.tell(error.to_string())).ok();
    if let Some(card) = &card {
        boot.read_requests(card, &root);
        boot.read_files(card);
    }
    boot.apply(&root);
    boot.keep(&root);
    if let Some(card) = &card {
        boot.overwrite_secrets(card, &root);
    }
    boot.write_settings(&root).context("cannot write the server's settings")
}

impl Boot {
    /// For the log, and for all that show the settings' problems.
    fn tell(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        eprintln!("posthouse-box: {problem}");
        self.problems.push(problem);
    }

    fn read_requests(&mut self, card: &BootPartition, root: &Root) {
        let state = root.path("run/posthouse-data");
        if let Some(mark) = reset::take_note(&state, reset::FOLLOWED) {
            self.kept.followed.insert(FACTORY_RESET.to_owned(), mark);
        }
        if let Some(error) = reset::take_note(&state, reset::FAILED) {
            self.tell(format!("{FACTORY_RESET}: the box could not be reset: {error}"));
        }
        for name in [FACTORY_RESET, RECOVER_OWNER] {
            match Request::find(card, name) {
                Err(error) => self.tell(error.to_string()),
                // The next file of this name is a new request.
                Ok(None) => drop(self.kept.followed.remove(name)),
                // The server lets the owner in by it once, and remembers that for as long as the file is there.
                Ok(Some(_)) if name == RECOVER_OWNER => self.recover_owner = true,
                Ok(Some(request)) if self.kept.followed.get(name) == Some(&request.mark()) => {
                    let what = "this was done; delete the file. A new one of this name asks for it again";
                    self.tell(Problem::of_file(&request.name, what).to_string());
                }
                Ok(Some(_)) => {}
            }
        }
    }

    fn read_files(&mut self, card: &BootPartition) {
        let read = |name, read: fn(&[u8]) -> Reading| CardFile::read(card, name, &self.kept, read);
        let own = read(file::NAME, file::read);
        let user_data = read(imager::USER_DATA, imager::user_data);
        let network_config = read(imager::NETWORK_CONFIG, imager::network_config);
        if matches!(card.read(imager::FIRST_RUN, u64::from(u32::MAX)), Ok(Some(_))) {
            let what = "this script is never run; what it would set belongs into posthouse.toml";
            self.tell(Problem::of_file(imager::FIRST_RUN, what).to_string());
        }
        if own.found.is_none() && !own.reading.is_unreadable && self.kept.own != Wishes::default() {
            self.tell(Problem::of_file(file::NAME, "the file is missing: the settings stay as they were").to_string());
        }
        for (file, keys) in [(&user_data, &USER_DATA_KEYS[..]), (&network_config, &NETWORK_CONFIG_KEYS)] {
            let earlier = self.kept.imager.clone();
            let settled = self.settle(file, keys, &earlier);
            for key in keys {
                self.kept.imager.keep(key, &settled);
            }
        }
        let earlier = std::mem::take(&mut self.kept.own);
        self.kept.own = self.settle(&own, &KEYS, &earlier);
        self.files = vec![own, user_data, network_config];
    }

    /// What a file wants, and where it can't be used, what it wanted before.
    fn settle(&mut self, file: &CardFile, keys: &[&str], earlier: &Wishes) -> Wishes {
        let reading = &file.reading;
        for problem in &reading.problems {
            self.tell(problem.to_string());
        }
        let mut wishes = reading.wishes.clone();
        let is_lost = reading.is_unreadable || file.found.is_none();
        for key in keys.iter().filter(|key| is_lost || reading.broken.contains(**key)) {
            wishes.keep(key, earlier);
        }
        if wishes.claim_code.as_deref().is_some_and(is_overwritten) {
            wishes.claim_code = earlier.claim_code.clone().filter(|code| !is_overwritten(code));
        }
        if let Some(wifi) = &mut wishes.wifi
            && wifi.password.as_deref().is_some_and(is_overwritten)
        {
            let known = earlier.wifi.as_ref().filter(|earlier| earlier.ssid == wifi.ssid);
            wifi.password = known.and_then(|wifi| wifi.password.clone());
            if wifi.password.is_none() {
                let what = format!(
                    "the password of {} was overwritten and is not known any more: type it once more",
                    wifi.ssid
                );
                self.tell(Problem::of_file(&file.name, what).to_string());
                wishes.wifi.clone_from(&earlier.wifi);
            }
        }
        wishes
    }

    fn wishes(&self) -> Wishes {
        self.kept.own.clone().over(self.kept.imager.clone())
    }

    fn apply(&mut self, root: &Root) {
        let wishes = self.wishes();
        let earlier = self.kept.wifi_file.take();
        let wifi = network::write_wifi(root, wishes.wifi.as_ref(), earlier.as_deref());
        let wifi =
            wifi.and_then(|file| if file.is_some() { system::start_wifi(root).map(|()| file) } else { Ok(file) });
        match wifi {
            Ok(file) => self.kept.wifi_file = file,
            Err(error) => {
                self.kept.wifi_file = earlier;
                self.tell(format!("Wi-Fi cannot be set up: {error}"));
            }
        }
        let done: [(&str, io::Result<()>); 4] = [
            ("the network", network::write_networks(root, &wishes)),
            ("the time servers", network::write_time_servers(root, &wishes)),
            ("the time zone", system::write_time_zone(root, wishes.time_zone.as_deref())),
            ("the host name", system::set_host_name(root, wishes.host_name.as_deref())),
        ];
        for (what, result) in done {
            if let Err(error) = result {
                self.tell(format!("{what} cannot be set up: {error}"));
            }
        }
    }

    fn keep(&mut self, root: &Root) {
        let parts = |file: &CardFile| {
            let parts: Vec<_> = file.to_overwrite().into_iter().filter(|part| part.old != part.new).collect();
            (!parts.is_empty()).then(|| (file.name.clone(), parts))
        };
        self.kept.overwriting = self.files.iter().filter_map(parts).collect();
        if let Err(error) = self.kept.save(root) {
            self.kept.overwriting.clear();
            self.tell(format!("what the card says cannot be kept: {error}"));
        }
    }

    /// Only what is kept on the card itself: what is in memory is gone at the next boot.
    fn overwrite_secrets(&mut self, card: &BootPartition, root: &Root) {
        if !root.lasts() {
            return;
        }
        let failures: Vec<_> =
            self.files.iter().filter_map(|file| file.overwrite(card, &self.kept.overwriting).err()).collect();
        for error in failures {
            self.tell(error.to_string());
        }
    }

    fn write_settings(&self, root: &Root) -> io::Result<()> {
        let wishes = self.wishes();
        let (tls, wanted) = (wishes.tls.unwrap_or_default(), wishes.updates.unwrap_or_default());
        let default = appliance::Updates::default();
        let updates = appliance::Updates {
            url: wanted.url,
            channel: wanted.channel.unwrap_or(default.channel),
            automatic: wanted.automatic.unwrap_or(default.automatic),
            window: wanted.window.unwrap_or(default.window),
            authority: wanted.authority,
        };
        let settings = Settings {
            host_name: wishes.host_name,
            site_name: wishes.site_name,
            language: wishes.language.unwrap_or_default(),
            names: tls.names,
            claim_code: wishes.claim_code,
            plain_http: tls.plain_http.unwrap_or_default(),
            updates,
            recover_owner: self.recover_owner,
            problems: self.problems.clone(),
        };
        let path = root.path(SETTINGS);
        if !root.is_real() {
            make_open_folder(path.parent().unwrap_or(Path::new("/")))?;
        }
        // The unit's group is the server's.
        write_whole(&path, 0o640, &serde_json::to_vec_pretty(&settings).map_err(io::Error::other)?)
    }
}

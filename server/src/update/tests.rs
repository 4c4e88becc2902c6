//! The edge against a real HTTPS server that has its moods: it breaks off, changes its file, sends on, has no end.

mod mirror;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use posthouse_protocol::appliance::{self, Settings};
use posthouse_protocol::update::UpdateRequest;
use posthouse_updater::{Bundle, Release, Sha256};
use tempfile::TempDir;

use super::inbox;
use super::kept::FILE_NAME;
use super::refusal::Refused;
use super::schedule::Step;
use super::{Senses, Updates, Wiring};
use crate::router::Router;
use crate::shutdown::{self, ShutdownSender};
use crate::store::{Store, StoreParts};
use mirror::{Mirror, Mood};

/// 2026-11-23 04:00 UTC; tests move it on.
static NOW_MS: AtomicU64 = AtomicU64::new(0);
const NIGHT: u64 = 20_780 * 86_400_000 + 4 * 3_600_000;
const HOUR: u64 = 3_600_000;

/// More than one piece of a file that grows.
const BINARY_LEN: usize = 2 * 1024 * 1024 + 77;

/// A bundle of a binary that is only bytes: what runs is not the edge's to look at.
fn bundle(seq: u64, change: impl FnOnce(&mut Release)) -> Vec<u8> {
    let seed = u8::try_from(seq % 251).expect("small");
    let packed: Vec<u8> = (0..=240_u8).cycle().take(BINARY_LEN).map(|byte| byte ^ seed).collect();
    let version = format!("0.{seq}.0").try_into().expect("a version");
    let mut release = Release { notes: "Better.".to_owned(), ..Release::of(version, seq, 20_780, &packed, &packed) };
    change(&mut release);
    Bundle::file(Vec::new(), &release, &packed, &[]).expect("a bundle")
}

struct Appliance {
    folder: TempDir,
    updates: Arc<Updates>,
    _stop: ShutdownSender,
}

impl Appliance {
    fn at(url: &str, authority: &str) -> Self {
        Self::on(tempfile::tempdir().expect("a folder"), url, authority)
    }

    fn on(folder: TempDir, url: &str, authority: &str) -> Self {
        let mut updates = Self::unused(&folder, url, authority);
        let made = Arc::get_mut(&mut updates.1).expect("nobody else has it");
        made.senses = Senses { now_ms: || NOW_MS.load(Ordering::Relaxed), is_synchronised: || true };
        Self { folder, updates: updates.1, _stop: updates.0 }
    }

    fn unused(folder: &TempDir, url: &str, authority: &str) -> (ShutdownSender, Arc<Updates>) {
        NOW_MS.fetch_max(NIGHT, Ordering::Relaxed);
        let window = "00:00-00:00".parse().expect("a window");
        let url = Some(url.to_owned());
        let updates =
            appliance::Updates { url, authority: Some(authority.to_owned()), window, ..appliance::Updates::default() };
        let settings = Settings { updates, ..Settings::default() };
        let StoreParts { store, last_gseq, .. } = Store::open(&folder.path().join("data")).expect("opens");
        let (stop, stopping) = shutdown::channel();
        let updates = Updates::new(Wiring {
            router: Router::new(store, last_gseq),
            settings: &settings,
            inbox: Some(&folder.path().join("inbox")),
            status_file: Some(folder.path().join("status.json")),
            data_dir: folder.path(),
            stopping,
        });
        (stop, updates)
    }

    async fn look(&self) -> Result<(), Refused> {
        let Ok(Some(source)) = &self.updates.source else { panic!("a source") };
        self.updates.look(source, self.updates.inbox().expect("an inbox")).await
    }

    async fn fetch(&self) -> Result<(), Refused> {
        let Ok(Some(source)) = &self.updates.source else { panic!("a source") };
        self.updates.fetch(source, self.updates.inbox().expect("an inbox")).await
    }

    /// What the box would do of its own accord.
    async fn turn(&self) {
        let Ok(Some(source)) = &self.updates.source else { panic!("a source") };
        self.updates.turn(self.updates.inbox().expect("an inbox"), source).await;
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Whether exactly this bundle lies in the inbox, whole.
    fn has(&self, bundle: &[u8]) -> bool {
        let whole = self.path("inbox").join(format!("{}.phb", Sha256::of(bundle)));
        std::fs::read(whole).is_ok_and(|found| found == bundle)
    }

    fn request(&self) -> Option<UpdateRequest> {
        let text = std::fs::read(self.path("inbox/request")).ok()?;
        Some(serde_json::from_slice(&text).expect("a request"))
    }
}

fn available(of: &Appliance) -> Option<String> {
    of.updates.status().available.map(|available| available.version)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_is_found_by_its_head_and_fetched_over_a_break() {
    let bytes = bundle(7, |_| {});
    let mirror = Mirror::with(&bytes).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.look().await.expect("it answers");
    assert_eq!(available(&of).as_deref(), Some("0.7.0"));
    let sent = mirror.sent();
    assert!(sent < 200_000, "{sent} bytes for looking at a file of {}", bytes.len());

    mirror.be(Mood::BreaksAfter(1_500_000));
    of.fetch().await.expect("it comes");
    assert!(of.has(&bytes));
    let asked = mirror.asked();
    let resumed = asked.last().expect("it was asked");
    assert!(resumed.from > 0 && resumed.from <= 1_500_000, "{asked:?}");
    assert_eq!(resumed.if_range.as_deref(), Some(mirror.etag().as_str()), "{asked:?}");
    assert!(!of.path("inbox/download.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_after_a_restart() {
    let bytes = bundle(7, |_| {});
    let mirror = Mirror::with(&bytes).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.look().await.expect("it answers");
    mirror.be(Mood::StallsAfter(1_500_000));
    let part = of.path("inbox/download.part");
    let come = async {
        while inbox::len(&part) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = come => {}
        fetched = of.fetch() => panic!("it stalls: {fetched:?}"),
    }
    let here = inbox::len(&part);
    let Appliance { folder, updates, .. } = of;
    drop(updates);
    assert!(here > 0 && here < bytes.len() as u64, "{here}");

    let of = Appliance::on(reopened(folder), &mirror.url(), &mirror.authority());
    of.fetch().await.expect("it comes");
    assert!(of.has(&bytes));
    assert_eq!(mirror.asked().last().expect("it was asked").from, here, "nothing is fetched twice");
}

/// The same folder for another server: the store of the first one is not closed yet.
fn reopened(folder: TempDir) -> TempDir {
    let again = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(again.path().join("inbox")).expect("made");
    for name in [FILE_NAME, "inbox/download.part"] {
        std::fs::copy(folder.path().join(name), again.path().join(name)).expect("copied");
    }
    drop(folder);
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_meanwhile_starts_over() {
    let [old, new] = [bundle(7, |_| {}), bundle(8, |_| {})];
    let mirror = Mirror::with(&old).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.look().await.expect("it answers");
    mirror.be(Mood::BreaksAfter(1_200_000));
    mirror.then_has(&new);
    of.fetch().await.expect("it sees that the file is another one");
    assert_eq!(available(&of).as_deref(), Some("0.8.0"));
    assert!(!of.path("inbox/download.part").exists(), "what came of the old one is of no use");
    of.fetch().await.expect("it comes");
    assert!(of.has(&new) && !of.has(&old));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_parts_is_asked_for_all_of_it_again() {
    let bytes = bundle(7, |_| {});
    let mirror = Mirror::with(&bytes).await;
    mirror.be(Mood::WithoutParts);
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.look().await.expect("it answers");
    std::fs::write(of.path("inbox/download.part"), "something else").expect("written");
    mirror.be(Mood::WithoutParts);
    of.fetch().await.expect("it comes");
    assert!(of.has(&bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_update_for_this_box_is_told_in_a_line() {
    let good = bundle(7, |_| {});
    let mirror = Mirror::with(&good).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    let cases: Vec<(Mood, Vec<u8>, &str)> = vec![
        (Mood::Hangs, good.clone(), "can't be reached"),
        (Mood::Endless, good.clone(), "this is no Posthouse update"),
        (Mood::Status(404), good.clone(), "answers with HTTP status 404"),
        (Mood::Status(500), good.clone(), "answers with HTTP status 500"),
        (Mood::SendsOn("http://127.0.0.1/a.phb".to_owned()), good.clone(), "which is not https"),
        (Mood::SendsOnForEver, good.clone(), "sends on more than 5 times"),
        (Mood::Well, b"<html>Welcome to the hotel's network</html>".repeat(100), "this is no Posthouse update"),
        (Mood::Well, good[..20].to_vec(), "ends before it says what it is"),
        (Mood::Well, good[..good.len() - 1].to_vec(), "and says that it has"),
        (Mood::Well, [good.as_slice(), b"x"].concat(), "and says that it has"),
        (Mood::Well, bundle(7, |release| release.arch = "sparc".to_owned()), "it is for arch \"sparc\""),
        (Mood::Well, bundle(7, |release| release.channel = "beta".to_owned()), "it is for channel \"beta\""),
        (Mood::Well, bundle(7, |release| release.product = "other".to_owned()), "of the product \"other\""),
    ];
    for (mood, file, line) in cases {
        mirror.has(&file);
        mirror.be(mood.clone());
        let said = of.look().await.expect_err("refused").to_string();
        assert!(said.contains(line) && !said.contains('\n'), "{mood:?}: {said}");
        assert_eq!(of.updates.status().problem.as_deref(), Some(said.as_str()));
        assert_eq!(available(&of), None);
    }
    mirror.has(&good);
    of.look().await.expect("it is well again");
    assert_eq!(of.updates.status().problem, None);

    let stranger = Mirror::with(&good).await;
    let of = Appliance::at(&mirror.url(), &stranger.authority());
    let said = of.look().await.expect_err("refused").to_string();
    assert!(said.contains("is not trusted"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_not_what_its_head_says_is_thrown_away() {
    let mut bytes = bundle(7, |_| {});
    *bytes.last_mut().expect("it has bytes") ^= 1;
    let mirror = Mirror::with(&bytes).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.look().await.expect("its head is good");
    let said = of.fetch().await.expect_err("refused").to_string();
    assert!(said.contains("not the one that was signed"), "{said}");
    let left: Vec<_> = std::fs::read_dir(of.path("inbox")).expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_installs_by_itself_what_its_owner_does_not_put_off() {
    let bytes = bundle(7, |_| {});
    let mirror = Mirror::with(&bytes).await;
    let of = Appliance::at(&mirror.url(), &mirror.authority());
    of.turn().await;
    assert!(of.has(&bytes), "it is fetched ahead");
    assert_eq!(of.request(), None, "and not installed before people could hear of it");
    let status = of.updates.status();
    let due = status.available.and_then(|available| available.due_ms).expect("it is due some time");
    assert!(due >= NIGHT + 12 * HOUR, "{due}");
    assert!(status.notice.as_deref().is_some_and(|notice| notice.contains("Version 0.7.0")), "{:?}", status.notice);

    let at = |ms: u64| {
        let mut kept = of.updates.kept();
        // As if it had been found so long ago.
        kept.found.as_mut().expect("found").found_ms = NIGHT - ms;
        of.updates.live().kept = kept;
    };
    at(11 * HOUR);
    of.turn().await;
    assert_eq!(of.request(), None);
    at(48 * HOUR);
    of.updates.live().kept.postponed_until_ms = Some(NIGHT + 24 * HOUR);
    of.turn().await;
    assert_eq!(of.request(), None, "it was put off");
    of.updates.live().kept.postponed_until_ms = None;
    std::fs::write(of.path("status.json"), r#"{"trial": {"slot": {"version": "0.6.0"}}}"#).expect("written");
    of.turn().await;
    assert_eq!(of.request(), None, "another one is being tried");
    let rolled_back = r#"{"last": {"outcome": "rolled_back", "version": "0.7.0"}}"#;
    std::fs::write(of.path("status.json"), rolled_back).expect("written");
    of.turn().await;
    assert_eq!(of.request(), None, "it was tried, and is not tried again");
    std::fs::write(of.path("status.json"), "{}").expect("written");
    of.turn().await;
    let bundle = Sha256::of(&bytes).to_string();
    assert_eq!(of.request(), Some(UpdateRequest::Install { bundle, by: "automatic".to_owned() }));

    // Confirmed: there is nothing newer any more.
    let confirmed = r#"{"ratchet": {"generation": 1, "seq": 7, "min_seq": 0}}"#;
    std::fs::write(of.path("status.json"), confirmed).expect("written");
    assert_eq!(available(&of), None);
    assert_eq!(of.updates.due(None), Step::Nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_whose_clock_nobody_has_set_does_nothing_by_itself() {
    let mirror = Mirror::with(&bundle(7, |_| {})).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (_stop, mut updates) = Appliance::unused(&folder, &mirror.url(), &mirror.authority());
    let made = Arc::get_mut(&mut updates).expect("nobody else has it");
    made.senses = Senses { now_ms: || NIGHT, is_synchronised: || false };
    assert_eq!(updates.due(None), Step::Nothing);
    assert_eq!(updates.status().source.paused.as_deref(), Some("no time server has set the box's clock"));
    assert_eq!(updates.due(Some("anna")), Step::Look, "by hand it does");
}

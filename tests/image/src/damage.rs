//! Cards in a bad state: a data partition whose superblock is gone, one that holds nothing but garbage, a full boot partition.
//! The first is repaired and nothing is lost; with the second the box says what is wrong, and leaves the card as it is. And cards
//! of another size: some that the image does not fit on, one with no room for data, and one so large that a first boot could take too
//! long.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::card::make_overlay;
use crate::chat::{Device, Person};
use crate::dist::{Dist, run};
use crate::machine::Machine;
use crate::rig::{Asked, BOOT_LIMIT, Doors, REPORT_LIMIT, Rig};
use crate::selftest::Selftest;
use crate::{http, lasting, shown};

/// Where a file system of the ext family has its superblock, and how long it is.
const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_LEN: u64 = 1024;

/// A card just large enough for a data partition, so that filling that takes little time.
const SMALL_CARD_BYTES: u64 = 2_300 * 1024 * 1024;

/// The image fits, its two further partitions don't.
const TIGHT_CARD_BYTES: u64 = 1_500 * 1024 * 1024;

/// The largest that people buy.
const LARGE_CARD_BYTES: u64 = 512_000_000_000;

/// Where the image ends in the middle of root, and where before it.
const CUT_CARDS_MIB: [u64; 2] = [800, 500];

/// A shutdown in order, of which a busy box's slowest unit is given 90 s.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(240);

const GARBAGE: Trouble = Trouble {
    unit: "posthouse-check.service",
    page: &["cannot be read", "What to do"],
    console: "data-check: The data partition",
};

const TIGHT: Trouble = Trouble {
    unit: "posthouse-disk.service",
    page: &["is too small", "a card of at least 4 GB"],
    console: "disk-setup: /dev/vda is too small",
};

/// What the initramfs says of a card that the image was cut off on.
const CUT: &str = "the card is smaller than the image: one of at least 4 GB is needed";

const FIRST_BOOT: &str = "overlays/common/usr/lib/posthouse/disk-setup";

/// Zeros the superblock of the data partition on a card that a box has used.
pub async fn lose_superblock(dist: &Dist, card: &Path) -> anyhow::Result<()> {
    let at = dist.data_start_bytes()? + SUPERBLOCK_AT;
    let request = format!("write -q -P 0 {at} {SUPERBLOCK_LEN}");
    run(Command::new("qemu-io").args(["-f", "qcow2", "-c", &request]).arg(card)).await
}

/// The box found that out and said so.
pub fn assert_repaired(console: &Path) -> anyhow::Result<()> {
    let said = std::fs::read(console).with_context(|| format!("reading {}", console.display()))?;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.contains("is repaired"), "the box came up with a damaged data partition and repaired nothing");
    Ok(())
}

/// A box whose data partition is garbage and whose boot partition is full serves the rescue page, and writes nothing but the same into
/// the report for which there has always been room.
pub async fn test_garbage(dist: &Dist, rig: &Rig<'_>) -> anyhow::Result<()> {
    let image = rig.disk.folder.join("garbage.img");
    let card = rig.disk.folder.join("garbage.qcow2");
    spoil(dist, &rig.disk.image, &image).await?;
    make_overlay(&image, &card, SMALL_CARD_BYTES).await?;
    let watch = async |machine: &mut Machine, doors: &Doors| {
        assert_told(machine, doors, &GARBAGE).await?;
        let told = async |_: &str| {
            let report = shown::report(dist, &card).await.ok()?;
            GARBAGE.page.iter().all(|words| report.contains(words)).then_some(())
        };
        machine.wait_for("what is wrong in the report on the card", shown::LIMIT, told).await
    };
    let outcome = rig.with_card(card.clone()).boot("garbage-boot", Asked::Report, watch).await;
    if outcome.is_ok() {
        shown::put_report(dist, &image, &shown::report(dist, &card).await?).await?;
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-q", "-f", "raw", "-F", "qcow2"]).arg(&image).arg(&card);
        run(&mut compare).await.context("the box wrote to a card that it can do nothing with")?;
    }
    let _ = std::fs::remove_file(image);
    outcome
}

/// A box whose card is too small serves the rescue page, which says so.
pub async fn test_tight(rig: &Rig<'_>) -> anyhow::Result<()> {
    let card = rig.disk.folder.join("tight.qcow2");
    make_overlay(&rig.disk.image, &card, TIGHT_CARD_BYTES).await?;
    let watch = async |machine: &mut Machine, doors: &Doors| assert_told(machine, doors, &TIGHT).await;
    let outcome = rig.with_card(card.clone()).boot("tight-card", Asked::Report, watch).await;
    let _ = std::fs::remove_file(card);
    outcome
}

/// A card that the image does not fit on can't boot: the console says why, and the box tries again.
pub async fn test_cut(rig: &Rig<'_>) -> anyhow::Result<()> {
    for size_mib in CUT_CARDS_MIB {
        let card = rig.disk.folder.join("cut.qcow2");
        make_overlay(&rig.disk.image, &card, size_mib * 1024 * 1024).await?;
        let watch = async |machine: &mut Machine, _: &Doors| {
            let said = async |console: &str| console.contains(CUT).then_some(());
            machine.wait_for("what is wrong with the card", BOOT_LIMIT, said).await?;
            machine.wait_for_end(SHUTDOWN_LIMIT).await
        };
        let name = format!("card-of-{size_mib}-mib");
        let outcome = rig.with_card(card.clone()).boot(&name, Asked::Report, watch).await;
        let _ = std::fs::remove_file(card);
        outcome?;
    }
    Ok(())
}

/// A first boot from a large card takes it to its end, and no longer than from any other. This box is shut down in order, and tells
/// who is in.
pub async fn test_large(dist: &Dist, rig: &Rig<'_>, person: &Person) -> anyhow::Result<()> {
    let card = rig.disk.folder.join("large.qcow2");
    make_overlay(&rig.disk.image, &card, LARGE_CARD_BYTES).await?;
    let first_boot = async |machine: &mut Machine, doors: &Doors| {
        let answer = async |_: &str| http::get(doors.open, "/healthz").await.filter(|answer| answer.status == 200);
        machine.wait_for("/healthz", BOOT_LIMIT, answer).await?;
        println!("test-image: a card of 512 GB: the box serves after {:.1} s", machine.running_for().as_secs_f64());
        let report = machine.wait_for("the report", REPORT_LIMIT, async |console| Selftest::read(console)).await?;
        report.assert_healthy()?;
        lasting::assert_grown(dist, &report, LARGE_CARD_BYTES)?;
        let mut guest = Device::log_in(&format!("http://{}", doors.open).parse()?, person).await?;
        // By a second one the box sees that the first is in.
        let _second = TcpStream::connect(doors.open).await.context("knocking at the box's door")?;
        guest.hear_good_bye().await?;
        machine.wait_for_end(SHUTDOWN_LIMIT).await
    };
    let outcome = rig.with_card(card.clone()).boot("large-card", Asked::Reboot, first_boot).await;
    let _ = std::fs::remove_file(card);
    outcome
}

/// The image on a small card after its first boot, with the data partition overwritten and the boot partition filled.
async fn spoil(dist: &Dist, fresh: &Path, card: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").arg("--sparse=always").arg(fresh).arg(card)).await?;
    std::fs::File::options().write(true).open(card)?.set_len(SMALL_CARD_BYTES)?;
    let folder = card.parent().context("a card in no folder")?;
    let content = folder.join("content");
    std::fs::create_dir_all(content.join("posthouse"))?;
    let mut first_boot = Command::new(FIRST_BOOT);
    first_boot.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    first_boot.env("POSTHOUSE_DISK", card).env("POSTHOUSE_DATA_CONTENT", &content).env("RUNTIME_DIRECTORY", folder);
    run(&mut first_boot).await?;
    let from = dist.data_start_bytes()?;
    let mut overwrite = Command::new("dd");
    overwrite.args([
        "if=/dev/urandom",
        "conv=notrunc",
        "bs=1M",
        "oflag=seek_bytes",
        "iflag=count_bytes",
        "status=none",
    ]);
    overwrite.arg(format!("of={}", card.display())).arg(format!("seek={from}"));
    run(overwrite.arg(format!("count={}", SMALL_CARD_BYTES - from))).await?;
    fill_boot(&format!("{}@@{}", card.display(), dist.partition(1)?.start_bytes()), folder).await
}

/// Fills the boot partition to its last cluster.
async fn fill_boot(boot: &str, folder: &Path) -> anyhow::Result<()> {
    let filler = folder.join("filler");
    std::fs::File::create(&filler)?.set_len(free(boot).await?)?;
    run(Command::new("mcopy").args(["-i", boot]).arg(&filler).arg("::filler")).await?;
    std::fs::remove_file(&filler)?;
    ensure!(free(boot).await? == 0, "the boot partition is not full");
    Ok(())
}

/// Free bytes by mdir's last line, in which blanks group the digits.
async fn free(boot: &str) -> anyhow::Result<u64> {
    let output = Command::new("mdir").args(["-i", boot, "::"]).stderr(Stdio::inherit()).output().await;
    let listing = String::from_utf8_lossy(&output.context("starting mdir: is mtools installed?")?.stdout).into_owned();
    let line = listing.lines().rfind(|line| line.ends_with("bytes free")).context("mdir does not say what is free")?;
    line.chars().filter(char::is_ascii_digit).collect::<String>().parse().context("mdir's free bytes are no number")
}

/// What a box that can't chat says of it.
struct Trouble {
    /// The one unit that failed.
    unit: &'static str,
    /// What stands on the rescue page.
    page: &'static [&'static str],
    /// What stands on the console.
    console: &'static str,
}

/// The rescue page says what is wrong, to people and to programs, and the box boots to its end and stays up with it.
async fn assert_told(machine: &mut Machine, doors: &Doors, trouble: &Trouble) -> anyhow::Result<()> {
    let rescue =
        machine.wait_for("the rescue page", BOOT_LIMIT, async |_| http::get(doors.open, "/healthz").await).await?;
    let health: serde_json::Value = serde_json::from_str(&rescue.body).context("/healthz answers no JSON")?;
    ensure!(rescue.status == 503 && health["status"] == "rescue", "/healthz says {} {health}", rescue.status);
    println!("test-image: {} failed: the box said so after {:.1} s", trouble.unit, machine.running_for().as_secs_f64());
    let report = machine.wait_for("the report", REPORT_LIMIT, async |console| Selftest::read(console)).await?;
    let failed = &report.failed_units;
    ensure!(failed == &[trouble.unit], "failed units: {}, not {} alone", failed.join(", "), trouble.unit);
    report.assert_root_is_read_only()?;
    let page = http::get(doors.open, "/").await.context("the page is gone by the end of the boot")?;
    for part in trouble.page {
        ensure!(page.body.contains(part), "the page does not say {part:?}: {}", page.body);
    }
    ensure!(machine.console().contains(trouble.console), "the console does not say {:?}", trouble.console);
    Ok(())
}

//! What the box shows to people who can't log in: the page on its serial console, and the report on its boot partition. Both have to
//! say what the server says of itself.

use std::num::NonZeroU16;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_protocol::appliance::{Ownership, Status};
use tokio::process::Command;

use crate::dist::{Dist, SECTOR_LEN, run};

/// How a page for a serial console begins and ends (server/appliance/src/watch/page.rs).
const BEGIN: &str = "\x1b[0m\x1b[H";
const END: &str = "\x1b[J";

/// The smallest terminal that a person has.
const LINES: NonZeroU16 = NonZeroU16::new(25).expect("some");
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).expect("some");

/// As the builder makes it.
const REPORT: &str = "POSTHOUSE.TXT";
const REPORT_LEN: usize = 8192;

/// Until it shows what has changed: 5 s at most, and an emulated box's pauses.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The last page that the console has shown, as a person reads it there; nothing where there was none.
pub fn page(console: &str) -> Option<String> {
    // What stands before the first beginning is no page.
    let (page, _) = console.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END)).last()?;
    let mut terminal = vt100::Parser::new(LINES, COLUMNS, 0);
    terminal.process(page.as_bytes());
    Some(terminal.screen().contents())
}

/// Somebody in front of the serial console reads how the box is to be reached, and the code off it.
pub fn assert_on_console(console: &Path, status: &Status) -> anyhow::Result<()> {
    let bytes = std::fs::read(console).with_context(|| format!("reading {}", console.display()))?;
    assert_in(&String::from_utf8_lossy(&bytes), status)
}

fn assert_in(console: &str, status: &Status) -> anyhow::Result<()> {
    let page = page(console).context("the serial console shows no page")?;
    assert_says(&page, status).with_context(|| format!("the console shows:\n{page}"))
}

/// Somebody who puts the card into a PC reads the same there.
pub async fn assert_on_card(dist: &Dist, card: &Path, status: &Status) -> anyhow::Result<()> {
    let report = report(dist, card).await?;
    assert_says(&report, status).with_context(|| format!("the card's report says:\n{}", report.trim()))
}

/// The report on a card, which may be in a box that runs.
pub async fn report(dist: &Dist, card: &Path) -> anyhow::Result<String> {
    let place = dist.partition(1)?;
    let (start, size) = (place.start_bytes(), place.size * SECTOR_LEN);
    let boot = card.with_extension("p1");
    let from = format!(
        "driver=raw,force-share=on,offset={start},size={size},file.driver=qcow2,file.file.driver=file,file.file.filename={}",
        card.display()
    );
    run(Command::new("qemu-img").args(["convert", "-O", "raw", "--image-opts", &from]).arg(&boot)).await?;
    run(Command::new("fsck.vfat").arg("-n").arg(&boot).stdout(std::process::Stdio::null())).await?;
    let read = Command::new("mtype").arg("-i").arg(&boot).arg(format!("::{REPORT}")).output().await?;
    std::fs::remove_file(&boot)?;
    let report = String::from_utf8(read.stdout).context("the report is no UTF-8")?;
    ensure!(report.len() == REPORT_LEN, "{REPORT} has {} bytes, not {REPORT_LEN}", report.len());
    ensure!(report.starts_with('\u{feff}'), "{REPORT} has no mark by which Windows knows UTF-8");
    Ok(report)
}

/// Writes a report where the one of this card is that no box has had yet, and nothing else.
pub async fn put_report(dist: &Dist, card: &Path, report: &str) -> anyhow::Result<()> {
    let place = dist.partition(1)?;
    let boot = format!("{}@@{}", card.display(), place.start_bytes());
    let old = Command::new("mtype").arg("-i").arg(boot).arg(format!("::{REPORT}")).output().await?.stdout;
    ensure!(old.len() == report.len(), "the report was {} bytes long and is {}", old.len(), report.len());
    let card = std::fs::File::options().read(true).write(true).open(card)?;
    let mut found = vec![0; old.len()];
    for sector in place.start..place.start + place.size {
        let (at, first) = (sector * SECTOR_LEN, old.len().min(512));
        card.read_exact_at(&mut found[..first], at)?;
        if found[..first] == old[..first] {
            card.read_exact_at(&mut found, at)?;
            ensure!(found == old, "the report that the card came with lies in several places");
            return Ok(card.write_all_at(report.as_bytes(), at)?);
        }
    }
    anyhow::bail!("the card has no report")
}

fn assert_says(text: &str, status: &Status) -> anyhow::Result<()> {
    let name = status.names.first().context("the server has no name")?;
    let address = status.addresses.first().context("the server has no address")?;
    for wanted in [format!("http://{name}/"), format!("http://{address}/")] {
        ensure!(text.contains(&wanted), "it lacks {wanted}");
    }
    if let Some(fingerprint) = &status.fingerprint {
        // A page has room for half of it in a line.
        let digits: String = text.split_whitespace().collect();
        let wanted: String = fingerprint.to_string().split_whitespace().collect();
        let halves = wanted.split_at(wanted.len() / 2);
        ensure!(digits.contains(halves.0) && digits.contains(halves.1), "it lacks the fingerprint {fingerprint}");
    }
    match &status.ownership {
        Ownership::Unclaimed { code } | Ownership::Recovering { code, .. } => {
            ensure!(text.contains(code.as_str()), "it lacks the code {code}");
        }
        Ownership::Claimed { owner } => {
            ensure!(text.contains(&format!("Owner: {owner}")), "it lacks the owner {owner}");
        }
        Ownership::Unknown => anyhow::bail!("the server does not say who owns the box"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{assert_in, page};
    use posthouse_protocol::appliance::{Ownership, Status};

    const CODE: &str = "7K2M-Q9XD-4TRW";

    fn status() -> Status {
        Status {
            names: vec!["posthouse.local".to_owned()],
            addresses: vec!["10.0.2.15".parse().expect("an address")],
            ownership: Ownership::Unclaimed { code: CODE.to_owned() },
            ..Status::default()
        }
    }

    fn console(code: &str) -> String {
        let page = |line: &str| {
            format!(
                "\x1b[0m\x1b[HPosthouse\x1b[K\r\nhttp://posthouse.local/\x1b[K\r\nhttp://10.0.2.15/\x1b[K\r\n{line}\x1b[K\r\n\x1b[J"
            )
        };
        format!("[ 1.0] kernel\r\n{}[ 2.0] kernel\r\n{}posthouse-selftest: end=1\r\n", page("starting"), page(code))
    }

    #[test]
    fn the_last_whole_page_counts() {
        assert_eq!(page("[ 1.0] kernel\r\n"), None);
        let text = page(&console(CODE)).expect("a page");
        assert!(text.contains(CODE) && !text.contains("starting") && !text.contains("kernel"), "{text}");
        let broken = format!("{}\x1b[0m\x1b[HPosth", console(CODE));
        assert!(page(&broken).expect("the one before").contains(CODE));
    }

    #[test]
    fn what_the_page_lacks_is_named() {
        assert_in(&console(CODE), &status()).expect("all of it");
        let lacks = |console: &str, status: &Status| format!("{:#}", assert_in(console, status).expect_err("it lacks"));
        assert!(lacks(&console("0000-0000-0000"), &status()).contains(CODE));
        assert!(
            lacks(&console(CODE), &Status { names: vec!["other.local".to_owned()], ..status() })
                .contains("other.local")
        );
        let owned = Ownership::Claimed { owner: "anna".to_owned() };
        assert!(lacks(&console(CODE), &Status { ownership: owned, ..status() }).contains("anna"));
        assert!(lacks(&console(CODE), &Status { ownership: Ownership::Unknown, ..status() }).contains("who owns"));
        assert!(lacks("nothing", &status()).contains("no page"));
    }
}

//! A card in a file, as a PC sees it: whoever has it in hand puts files onto its boot partition, reads there, and boots from it.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use tokio::process::Command;

use crate::dist::{Dist, run};
use crate::machine::Machine;
use crate::rig::{Asked, Evening, Rig};

/// Room for a data partition, and quick to copy.
pub const CARD_BYTES: u64 = 2_300 * 1024 * 1024;

pub struct Card {
    raw: PathBuf,
    /// Where its boot partition begins, and how long it is.
    at: u64,
    len: u64,
}

impl Card {
    /// One that the image was just written to.
    pub async fn fresh(dist: &Dist, rig: &Rig<'_>, name: &str) -> anyhow::Result<Self> {
        let boot = dist.partition(1)?;
        let raw = rig.disk.folder.join(name).with_extension("img");
        run(Command::new("cp").arg("--sparse=always").arg(&rig.disk.image).arg(&raw)).await?;
        std::fs::File::options().write(true).open(&raw)?.set_len(CARD_BYTES)?;
        Ok(Self { raw, at: boot.start_bytes(), len: boot.size * crate::dist::SECTOR_LEN })
    }

    /// Its content, byte for byte.
    pub fn path(&self) -> &Path {
        &self.raw
    }

    fn boot_partition(&self) -> String {
        format!("{}@@{}", self.raw.display(), self.at)
    }

    pub async fn put(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let from = self.raw.with_extension("content");
        std::fs::write(&from, content)?;
        let to = format!("::{name}");
        run(Command::new("mcopy").args(["-D", "o", "-i", &self.boot_partition()]).arg(&from).arg(to)).await?;
        std::fs::remove_file(&from).context("removing what was put onto the card")
    }

    pub async fn get(&self, name: &str) -> anyhow::Result<String> {
        let output =
            Command::new("mcopy").args(["-i", &self.boot_partition(), &format!("::{name}"), "-"]).output().await?;
        ensure!(output.status.success(), "mcopy cannot read {name}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Boots from it as [`Rig::power_on`] does, and has the card as the power cut left it.
    pub async fn power_on<T>(
        &self,
        rig: &Rig<'_>,
        name: &str,
        asked: Asked,
        people: impl AsyncFnOnce(&mut Machine, &ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        let overlay = self.raw.with_extension("qcow2");
        make_overlay(&self.raw, &overlay, CARD_BYTES).await?;
        let evening = rig.with_card(overlay.clone()).power_on(name, asked, people).await?;
        let after = self.raw.with_extension("after");
        run(Command::new("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(&overlay).arg(&after)).await?;
        std::fs::rename(&after, &self.raw)?;
        std::fs::remove_file(&overlay)?;
        self.assert_sound(&self.raw).await?;
        Ok(evening)
    }

    /// The card is of no more use.
    pub fn throw_away(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.raw).context("removing the card")
    }

    /// The boot partition is a sound file system that nobody has marked as in use.
    async fn assert_sound(&self, raw: &Path) -> anyhow::Result<()> {
        let alone = raw.with_extension("p1");
        let (at, len) = (self.at, self.len);
        let from = format!("driver=raw,offset={at},size={len},file.driver=file,file.filename={}", raw.display());
        run(Command::new("qemu-img").args(["convert", "-O", "raw", "--image-opts", &from]).arg(&alone)).await?;
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut check = Command::new("fsck.vfat");
        check.env("PATH", path).arg("-n").arg(&alone).stdout(std::process::Stdio::null());
        run(&mut check).await.context("the boot partition after the boot")?;
        std::fs::remove_file(&alone).context("removing the copy of the boot partition")
    }
}

/// A card that begins as an image's copy; what a boot writes to it goes into a file of its own.
pub async fn make_overlay(image: &Path, card: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image).arg(card).arg(bytes.to_string());
    run(&mut create).await
}

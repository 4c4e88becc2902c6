//! The far end of the link: a network namespace with the kernel settings of the image, where the server runs. It lives as long as
//! this value; the near end is the namespace that the bench itself was started in.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use posthouse_bench::namespace;
use posthouse_e2e::{Server, Site, binaries};

use crate::link;

/// The settings that the image is built with.
const SYSCTLS: &str = include_str!("../../../overlays/common/etc/sysctl.d/90-posthouse.conf");

/// Of the two ends.
const ADDRESSES: [&str; 2] = ["10.9.0.1", "10.9.0.2"];

/// What is dropped at random, of a thousand packets each way.
#[derive(Clone, Copy)]
pub struct Loss(pub u32);

/// Makes this program's own namespace, in which it was started, talk to itself.
pub fn settle() -> anyhow::Result<()> {
    namespace::assert_new("tests/tuning/run")?;
    run(&["ip", "link", "set", "lo", "up"])
}

pub struct Lane {
    /// Holds the namespace.
    holder: Child,
}

impl Lane {
    pub fn lay() -> anyhow::Result<Self> {
        link::lay()?;
        let mut unshare = Command::new("unshare");
        // It says so when it is in its namespace, and ends with us.
        unshare.args(["--net", "--kill-child", "--", "sh", "-c", "echo; exec sleep infinity"]).stdout(Stdio::piped());
        let mut holder = unshare.spawn().context("starting unshare")?;
        let mut said = [0; 1];
        std::io::Read::read_exact(holder.stdout.as_mut().context("unshare's words")?, &mut said)
            .context("making a network namespace: are you root?")?;
        let lane = Self { holder };
        let [near, far] = link::ENDS;
        run(&["ip", "link", "set", far, "netns", &lane.holder.id().to_string()])?;
        run(&["ip", "address", "add", ADDRESSES[0], "peer", ADDRESSES[1], "dev", near])?;
        run(&["ip", "link", "set", near, "up"])?;
        lane.run(&["ip", "address", "add", ADDRESSES[1], "peer", ADDRESSES[0], "dev", far])?;
        lane.run(&["ip", "link", "set", "lo", "up"])?;
        lane.run(&["ip", "link", "set", far, "up"])?;
        for line in SYSCTLS.lines().filter(|line| line.starts_with("net.ipv4.tcp_")) {
            let (name, value) = line.split_once('=').context("a setting has a value")?;
            // Some are the whole machine's and stay as they are.
            let _ = lane.set(name.trim(), value.trim());
        }
        Ok(lane)
    }

    /// Changes a kernel setting at the far end.
    pub fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let words = format!("printf '%s' '{value}' 2>/dev/null >/proc/sys/{}", name.replace('.', "/"));
        self.run(&["sh", "-c", &words])
    }

    /// Which congestion control the server's connections get: by the route, since a namespace may not choose every one by its
    /// kernel setting.
    pub fn control(&self, name: &str) -> anyhow::Result<()> {
        let [near, far] = ADDRESSES;
        let route =
            ["ip", "route", "replace", near, "dev", link::ENDS[1], "src", far, "proto", "kernel", "scope", "link"];
        self.run(&[&route[..], &["congctl", name]].concat())
    }

    /// Drops packets at both ends as they come in.
    pub fn lose(&self, loss: Loss) -> anyhow::Result<()> {
        let rules = format!(
            "add table ip loss; delete table ip loss; add table ip loss; \
             add chain ip loss in {{ type filter hook input priority 0; }}; \
             add rule ip loss in ip saddr 10.9.0.0/24 numgen random mod 1000 < {} drop",
            loss.0
        );
        run(&["nft", &rules])?;
        self.run(&["nft", &rules])
    }

    /// Starts a server at the far end.
    pub fn serve(&self, site: &Site) -> anyhow::Result<Server> {
        let mut command = self.enter();
        command.arg(binaries::server()).arg("--data-dir").arg(site.data_dir());
        command.args(["--listen", &format!("{}:8080", ADDRESSES[1])]);
        match Server::start(command, site.admin_socket()) {
            Ok(server) => Ok(server),
            Err(stopped) => bail!("the server did not start: {stopped:?}"),
        }
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--");
        command
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        finish(self.enter().args(words), words)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    finish(Command::new(words[0]).args(&words[1..]), words)
}

fn finish(command: &mut Command, words: &[&str]) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {}: is it installed?", words[0]))?;
    ensure!(status.success(), "{}: {status}", words.join(" "));
    Ok(())
}

//! A release image is closed: nobody can log in to it, and no program gives its user more rights than he has. The stage `tree`
//! calls it when the tree is complete. It only reads.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

#[derive(Debug, Args)]
pub struct Subject {
    /// Root's tree.
    #[arg(long)]
    tree: PathBuf,
    /// The boot partition's files.
    #[arg(long)]
    boot: PathBuf,
}

/// Units that put a log-in or a shell on a terminal: links to /dev/null, whatever a package or a generator wants.
const MASKED: [&str; 6] = [
    "getty@.service",
    "autovt@.service",
    "serial-getty@.service",
    "console-getty.service",
    "container-getty@.service",
    "debug-shell.service",
];

/// Units of systemd that would ask for root's password; the image has its own.
const REPLACED: [&str; 2] = ["emergency.service", "rescue.service"];

/// Servers that let people in over the network.
const SERVERS: [&str; 5] = ["sshd", "dropbear", "in.telnetd", "telnetd", "in.rlogind"];

/// What only images for developers have on the command line or in config.txt, by its beginning: consoles to log in at, another
/// program or target to start, credentials.
const DEVELOPERS: [&str; 13] = [
    "console=tty",
    "console=serial",
    "init=",
    "rdinit=",
    "rd.",
    "systemd.debug",
    "systemd.set_credential",
    "systemd.unit=",
    "emergency",
    "rescue",
    "single",
    "sysrq_always_enabled",
    "enable_uart",
];

pub fn check(subject: &Subject) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    units(&subject.tree, &mut findings);
    programs(&subject.tree, &mut findings)?;
    accounts(&subject.tree, &mut findings)?;
    set_ids(&subject.tree, &mut findings)?;
    boot(&subject.boot, &mut findings)?;
    if !findings.is_empty() {
        bail!("a release image lets nobody in, and this one has: {}", findings.join("; "));
    }
    Ok(())
}

fn units(tree: &Path, findings: &mut Vec<String>) {
    let folder = tree.join("etc/systemd/system");
    for unit in MASKED {
        if !fs::read_link(folder.join(unit)).is_ok_and(|target| target == Path::new("/dev/null")) {
            findings.push(format!("{unit}, which is not masked"));
        }
    }
    for unit in REPLACED {
        let ours = fs::read_to_string(folder.join(unit)).unwrap_or_default();
        if ours.is_empty() || ["sulogin", "/bash", "/sh "].iter().any(|shell| ours.contains(shell)) {
            findings.push(format!("{unit}, which is systemd's or starts a shell"));
        }
    }
    if tree.join("etc/nftables.d").exists() {
        findings.push("/etc/nftables.d, which opens further ports".to_owned());
    }
}

fn programs(tree: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    for folder in ["usr/bin", "usr/sbin", "usr/lib/openssh"] {
        for server in SERVERS.iter().filter(|server| tree.join(folder).join(server).symlink_metadata().is_ok()) {
            findings.push(format!("/{folder}/{server}"));
        }
    }
    let homes = match fs::read_dir(tree.join("home")) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?,
        Err(_) => Vec::new(),
    };
    for home in homes.into_iter().chain([tree.join("root")]) {
        // An empty folder, as Debian's base has it, admits nobody.
        if fs::read_dir(home.join(".ssh")).is_ok_and(|mut entries| entries.next().is_some()) {
            findings.push(format!("keys in /{}", home.strip_prefix(tree)?.join(".ssh").display()));
        }
    }
    Ok(())
}

/// Passwords: `*` and `!` are those that nothing matches, `x` says that /etc/shadow has it.
fn accounts(tree: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    for (file, barred) in [("etc/passwd", &["x", "*", "!"][..]), ("etc/shadow", &["*", "!"])] {
        let path = tree.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in text.lines() {
            let mut fields = line.split(':');
            let (name, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            if !barred.iter().any(|word| password == *word || *word != "x" && password.starts_with(word)) {
                findings.push(format!("an account that a password opens or that needs none ({name} in /{file})"));
            }
        }
    }
    Ok(())
}

fn set_ids(tree: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let device = fs::symlink_metadata(tree)?.dev();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() && metadata.dev() == device {
                folders.push(path);
            } else if metadata.is_file() && metadata.permissions().mode() & 0o6000 != 0 {
                findings.push(format!("set-uid or set-gid /{}", path.strip_prefix(tree)?.display()));
            }
        }
    }
    Ok(())
}

fn boot(boot: &Path, findings: &mut Vec<String>) -> anyhow::Result<()> {
    let read = |file: &str| fs::read_to_string(boot.join(file)).with_context(|| format!("cannot read {file}"));
    let (cmdline, config) = (read("cmdline.txt")?, read("config.txt")?);
    let options: Vec<&str> = cmdline.split_whitespace().collect();
    // The last one counts.
    if options.iter().rfind(|option| option.starts_with("systemd.getty_auto=")) != Some(&"systemd.getty_auto=no") {
        findings.push("log-ins on the kernel's consoles (no systemd.getty_auto=no in cmdline.txt)".to_owned());
    }
    let settings = config.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    // Of consoles only the screen's, which nobody reads from.
    for option in options.into_iter().filter(|option| *option != "console=tty1").chain(settings) {
        if DEVELOPERS.iter().any(|word| option.starts_with(word)) {
            findings.push(format!("{option} on the boot partition"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree and a boot partition as a release has them.
    struct Image(tempfile::TempDir);

    impl Image {
        fn new() -> Self {
            let image = Self(tempfile::tempdir().expect("temporary folder"));
            for unit in MASKED {
                let link = image.at(&format!("tree/etc/systemd/system/{unit}"));
                std::os::unix::fs::symlink("/dev/null", link).expect("a link");
            }
            for unit in REPLACED {
                image.write(
                    &format!("tree/etc/systemd/system/{unit}"),
                    "[Service]\nExecStart=/usr/bin/systemctl reboot\n",
                );
            }
            image.write("tree/etc/passwd", "root:*:0:0:root:/root:/bin/bash\nposthouse:x:99:99::/:/usr/sbin/nologin\n");
            image.write("tree/etc/shadow", "posthouse:!*:20779::::::\n");
            image.write("tree/usr/bin/bash", "");
            fs::create_dir_all(image.at("tree/root/.ssh")).expect("a folder");
            image.write("boot/cmdline.txt", "console=tty1 ro systemd.getty_auto=no\n");
            image.write("boot/config.txt", "# enable_uart=1 is for developers.\narm_64bit=1\n");
            image
        }

        /// A path in it, whose folder is there.
        fn at(&self, path: &str) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            path
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.at(path);
            let _ = fs::remove_file(&path);
            fs::write(path, text).expect("write");
        }

        fn check(&self) -> Result<(), String> {
            let subject = Subject { tree: self.0.path().join("tree"), boot: self.0.path().join("boot") };
            check(&subject).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn a_release_passes() {
        Image::new().check().expect("closed");
    }

    #[test]
    fn every_way_in_is_named() {
        for (path, text, words) in [
            (
                "tree/etc/systemd/system/serial-getty@.service",
                "[Service]\n",
                "serial-getty@.service, which is not masked",
            ),
            (
                "tree/etc/systemd/system/rescue.service",
                "ExecStart=-/usr/lib/systemd/systemd-sulogin-shell",
                "rescue.service",
            ),
            ("tree/etc/nftables.d/90-ssh.conf", "", "further ports"),
            ("tree/usr/sbin/dropbear", "", "/usr/sbin/dropbear"),
            ("tree/usr/sbin/sshd", "", "/usr/sbin/sshd"),
            ("tree/root/.ssh/authorized_keys", "", "keys in /root/.ssh"),
            ("tree/home/pi/.ssh/authorized_keys", "", "keys in /home/pi/.ssh"),
            ("tree/etc/passwd", "root::0:0:root:/root:/bin/bash\n", "root in /etc/passwd"),
            ("tree/etc/shadow", "root:$y$j9T$x:1::::::\n", "root in /etc/shadow"),
            ("boot/cmdline.txt", "console=tty1 ro\n", "no systemd.getty_auto=no"),
            ("boot/cmdline.txt", "systemd.getty_auto=no systemd.getty_auto=yes\n", "no systemd.getty_auto=no"),
            ("boot/config.txt", "enable_uart=1\n", "enable_uart=1 on the boot partition"),
        ] {
            let image = Image::new();
            image.write(path, text);
            let error = image.check().expect_err(words);
            assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn every_option_of_the_kernel_that_lets_in_is_named() {
        for option in [
            "console=ttyS1,115200",
            "init=/bin/sh",
            "rdinit=/bin/sh",
            "systemd.unit=rescue.target",
            "systemd.set_credential=posthouse.accounts:anna:12345678",
        ] {
            let image = Image::new();
            image.write("boot/cmdline.txt", &format!("systemd.getty_auto=no {option}\n"));
            let error = image.check().expect_err(option);
            assert!(error.ends_with(&format!(": {option} on the boot partition")), "{error}");
        }
    }

    #[test]
    fn a_set_uid_and_a_set_gid_file_are_named() {
        for mode in [0o4755, 0o2755] {
            let image = Image::new();
            image.write("tree/usr/bin/su", "");
            fs::set_permissions(image.at("tree/usr/bin/su"), fs::Permissions::from_mode(mode)).expect("a mode");
            assert!(image.check().expect_err("set id").contains("set-uid or set-gid /usr/bin/su"));
        }
    }
}

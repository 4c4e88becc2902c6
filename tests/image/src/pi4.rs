//! A smoke test on QEMU's Pi 4B: the boot partition's kernel, initramfs and device tree work together, and the card is found
//! by the path that a Pi has. QEMU models neither the board's firmware nor its network, so nobody talks here.
//!
//! QEMU 10 also hangs the card on the older of the Pi's two controllers, which on a board serves Wi-Fi. Both are driven by the
//! same driver; that the right one (emmc2) comes up is asserted apart.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::process::Command;

use crate::dist::{Disk, run};
use crate::machine::Machine;

/// Several times slower than `virt`.
const BOOT_LIMIT: Duration = Duration::from_secs(1500);

const DEVICE_TREE: &str = "bcm2711-rpi-4-b.dtb";

/// Nodes of the device tree that QEMU 10 does not model and Debian's kernel panics or hangs in: the display, and what only it uses.
const NOT_MODELLED: [&str; 7] =
    ["hdmi@", "i2c@7ef", "interrupt-controller@7ef00100", "clock@7ef00000", "hvs@", "vec@", "pixelvalve@"];

/// Properties that tie a controller to parts behind the firmware's GPIO expander, which QEMU answers for with errors: the supplies of
/// the card's controller, and the power sequence of Wi-Fi on the one where QEMU puts the card.
const BEHIND_THE_FIRMWARE: [(&str, &[&str]); 2] =
    [("/emmc2bus/mmc@7e340000", &["vmmc-supply", "vqmmc-supply"]), ("/soc/mmc@7e300000", &["mmc-pwrseq"])];

/// What the command line needs on this machine beside the image's own.
const COMMAND_LINE: [&str; 3] = [
    "console=ttyAMA0,115200",
    // QEMU takes the watchdog's start for its end and resets the board.
    "module_blacklist=bcm2835_wdt",
    // Everything takes several times as long as on a Pi.
    "systemd.default_device_timeout_sec=900",
];

/// Bluetooth sits on the serial port that QEMU shows; without it the port is the console's.
const BLUETOOTH: &str = "/soc/serial@7e201000/bluetooth";

pub async fn test(disk: &Disk) -> anyhow::Result<()> {
    let device_tree = patched_device_tree(disk).await?;
    let card = disk.folder.join("raspi4b.qcow2");
    let mut create = Command::new("qemu-img");
    // QEMU wants a card whose size is a power of two.
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&disk.image).arg(&card).arg("8G");
    run(&mut create).await?;

    let mut arguments: Vec<String> = ["-machine", "raspi4b", "-smp", "4", "-m", "2048"].map(str::to_owned).to_vec();
    arguments.extend([
        "-kernel".to_owned(),
        disk.boot_file("vmlinuz")?,
        "-initrd".to_owned(),
        disk.boot_file("initrd.img")?,
    ]);
    let append = format!("{} {}", disk.cmdline, COMMAND_LINE.join(" "));
    arguments.extend(["-dtb".to_owned(), device_tree, "-append".to_owned(), append]);
    arguments.extend(["-drive".to_owned(), format!("if=sd,format=qcow2,file={}", card.display())]);

    let log = disk.folder.join("raspi4b.log");
    let mut machine = Machine::start(&arguments, &log)?;
    println!("test-image: raspi4b: console in {}", log.display());
    let outcome = watch(&mut machine).await.inspect_err(|_| crate::console::show_end(&log));
    machine.cut_power().await?;
    outcome
}

/// Follows the boot by what it says, each step with its time, as far as shows the card and what lies on it.
async fn watch(machine: &mut Machine) -> anyhow::Result<()> {
    let began = Instant::now();
    let steps = [
        ("the kernel takes the board's device tree", "Raspberry Pi 4 Model B"),
        ("the Pi's card controller comes up", "SDHCI controller on fe340000.mmc"),
        // Which of the two controllers is first, and so the card's number, differs from boot to boot.
        ("the card and its partitions are found", ": p1 p2"),
        ("root is mounted from the card", "EXT4-fs (mmcblk"),
        ("systemd starts from it", "systemd[1]: Hostname set to"),
        ("the first boot goes about p3 and p4", "posthouse-disk.service"),
    ];
    for (step, sign) in steps {
        let limit = BOOT_LIMIT.saturating_sub(began.elapsed());
        machine.wait_for(step, limit, async |console| console.contains(sign).then_some(())).await?;
        println!("  {:>6.1} s  {step}", machine.running_for().as_secs_f64());
    }
    println!(
        "\ntest-image: passed on raspi4b: boot partition, device tree and card come up\n  (the rest is shown on virt: writing p4 alone takes a quarter of an hour here)"
    );
    Ok(())
}

/// A copy of the board's device tree in which QEMU's gaps are switched off. The image keeps its own.
async fn patched_device_tree(disk: &Disk) -> anyhow::Result<String> {
    let patched = disk.folder.join("raspi4b.dtb");
    std::fs::copy(disk.boot_file(DEVICE_TREE)?, &patched).context("copying the device tree")?;
    let listed = Command::new("fdtget").args(["-l"]).arg(&patched).arg("/soc").output().await;
    let listed = listed.context("starting fdtget: is device-tree-compiler installed?")?;
    let children = String::from_utf8_lossy(&listed.stdout).into_owned();
    let gaps = children
        .lines()
        .filter(|node| NOT_MODELLED.iter().any(|gap| node.starts_with(gap)))
        .map(|node| format!("/soc/{node}"));
    for (node, properties) in BEHIND_THE_FIRMWARE {
        run(Command::new("fdtput").arg("-d").arg(&patched).arg(node).args(properties)).await?;
    }
    for node in gaps.chain(["/gpu".to_owned(), BLUETOOTH.to_owned()]) {
        run(Command::new("fdtput").args(["-t", "s"]).arg(&patched).args([node.as_str(), "status", "disabled"])).await?;
    }
    Ok(patched.display().to_string())
}

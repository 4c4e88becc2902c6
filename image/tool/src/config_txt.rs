//! What a config.txt makes the Pi 4's firmware load, by the rules of the Raspberry Pi documentation ("config.txt").
//!
//! It reads text and names files; whether they are there is boot_files' matter.

/// Sections that hold for the boards of this image; everything in others is not ours.
const SECTIONS: [&str; 4] = ["all", "pi4", "pi400", "cm4"];
/// The trees that the firmware asks for on Pi 4B, Pi 400 and Compute Module 4.
const DEVICE_TREES: [&str; 3] = ["bcm2711-rpi-4-b.dtb", "bcm2711-rpi-400.dtb", "bcm2711-rpi-cm4.dtb"];
/// With so little memory for the GPU the firmware takes its cut-down variant.
const CUT_DOWN_GPU_MEM_MB: u32 = 16;
const DEFAULT_GPU_MEM_MB: u32 = 76;

#[derive(Debug, PartialEq)]
pub struct Config {
    settings: Vec<(String, String)>,
}

impl Config {
    pub fn parse(text: &str) -> Self {
        let mut ours = true;
        let mut settings = Vec::new();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                ours = SECTIONS.contains(&section);
            } else if ours && let Some((key, value)) = split(line) {
                settings.push((key.to_owned(), value.to_owned()));
            }
        }
        Self { settings }
    }

    /// The last value counts, as it does for the firmware.
    fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn is_on(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value != "0")
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.settings.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn prefixed(&self, file: &str) -> String {
        format!("{}{file}", self.value("os_prefix").unwrap_or_default())
    }

    pub fn kernel(&self) -> String {
        self.prefixed(self.value("kernel").unwrap_or("kernel8.img"))
    }

    pub fn cmdline(&self) -> String {
        self.prefixed(self.value("cmdline").unwrap_or("cmdline.txt"))
    }

    pub fn device_trees(&self) -> Vec<String> {
        match self.value("device_tree") {
            Some(named) => vec![self.prefixed(named)],
            None => DEVICE_TREES.iter().map(|tree| self.prefixed(tree)).collect(),
        }
    }

    /// Names of the base tree's own parameters; those of an overlay follow its name on the same line.
    pub fn tree_parameters(&self) -> Vec<&str> {
        let lists = self.values("dtparam").flat_map(|list| list.split(','));
        lists.filter_map(|item| item.split('=').next()).filter(|name| !name.is_empty()).collect()
    }

    /// Every file that the firmware asks for, relative to the partition's root.
    pub fn files(&self) -> Vec<String> {
        let mut files = self.firmware();
        files.push(self.kernel());
        files.push(self.cmdline());
        files.extend(self.device_trees());
        files.extend(self.initramfs());
        let prefix = self.value("overlay_prefix").unwrap_or("overlays/");
        let overlays = self.values("dtoverlay").filter_map(|list| list.split([',', ':']).next());
        files.extend(
            overlays.filter(|name| !name.is_empty()).map(|name| self.prefixed(&format!("{prefix}{name}.dtbo"))),
        );
        files
    }

    fn gpu_mem_mb(&self) -> u32 {
        self.value("gpu_mem").and_then(|value| value.parse().ok()).unwrap_or(DEFAULT_GPU_MEM_MB)
    }

    fn firmware(&self) -> Vec<String> {
        if let (Some(start), Some(fixup)) = (self.value("start_file"), self.value("fixup_file")) {
            return vec![start.to_owned(), fixup.to_owned()];
        }
        let mut variants = vec![""];
        if self.gpu_mem_mb() <= CUT_DOWN_GPU_MEM_MB {
            // Some boot loaders still ask for the plain one first: raspberrypi/firmware#1809.
            variants.push("cd");
        } else if self.is_on("start_x") {
            variants.push("x");
        } else if self.is_on("start_debug") {
            variants.push("db");
        }
        variants.iter().flat_map(|variant| [format!("start4{variant}.elf"), format!("fixup4{variant}.dat")]).collect()
    }

    fn initramfs(&self) -> Vec<String> {
        match self.value("initramfs") {
            // `initramfs a,b followkernel`: the files, then where they go.
            Some(value) => {
                let names = value.split_whitespace().next().unwrap_or_default();
                names.split(',').map(|name| self.prefixed(name)).collect()
            }
            None if self.is_on("auto_initramfs") => vec![self.prefixed("initramfs8")],
            None => Vec::new(),
        }
    }
}

/// `key=value`, and the one line without an equals sign: `initramfs file address`.
fn split(line: &str) -> Option<(&str, &str)> {
    if let Some(rest) = line.strip_prefix("initramfs ") {
        return Some(("initramfs", rest.trim()));
    }
    line.split_once('=').map(|(key, value)| (key.trim(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Vec<String> {
        Config::parse(text).files()
    }

    #[test]
    fn little_gpu_memory_asks_for_both_firmware_variants() {
        let wanted = files("gpu_mem=16");
        for name in ["start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat"] {
            assert!(wanted.contains(&name.to_owned()), "{name} is not asked for");
        }
        assert!(!files("gpu_mem=64").contains(&"start4cd.elf".to_owned()));
    }

    #[test]
    fn an_empty_file_means_the_firmwares_defaults() {
        let wanted = files("");
        assert!(wanted.contains(&"kernel8.img".to_owned()));
        assert!(wanted.contains(&"cmdline.txt".to_owned()));
        assert!(wanted.contains(&"bcm2711-rpi-400.dtb".to_owned()));
    }

    #[test]
    fn kernel_initramfs_and_overlays_are_named() {
        let wanted = files("kernel=vmlinuz\ninitramfs initrd.img followkernel\ndtoverlay=disable-bt,x=1\ndtoverlay=\n");
        for name in ["vmlinuz", "initrd.img", "overlays/disable-bt.dtbo"] {
            assert!(wanted.contains(&name.to_owned()), "{name} is not asked for");
        }
        assert!(!wanted.iter().any(|name| name == "overlays/.dtbo"));
    }

    #[test]
    fn sections_of_other_boards_do_not_count() {
        let wanted = files("[pi5]\nkernel=five\n[pi4]\nkernel=four\n[all]\nauto_initramfs=1\n");
        assert!(wanted.contains(&"four".to_owned()));
        assert!(!wanted.contains(&"five".to_owned()));
        assert!(wanted.contains(&"initramfs8".to_owned()));
    }

    #[test]
    fn the_last_value_counts_and_comments_do_not() {
        let config = Config::parse("kernel=a\nkernel=b # kernel=c\n#kernel=d\n");
        assert_eq!(config.kernel(), "b");
    }

    #[test]
    fn a_prefix_holds_for_what_the_kernel_brings_and_not_for_the_firmware() {
        let wanted = files("os_prefix=new/\nkernel=vmlinuz\ndtoverlay=w1-gpio");
        for name in
            ["new/vmlinuz", "new/cmdline.txt", "new/bcm2711-rpi-4-b.dtb", "new/overlays/w1-gpio.dtbo", "start4.elf"]
        {
            assert!(wanted.contains(&name.to_owned()), "{name} is not asked for");
        }
    }

    #[test]
    fn tree_parameters_are_listed_by_name() {
        let config = Config::parse("dtparam=audio=off\ndtparam=watchdog=on,spi\n");
        assert_eq!(config.tree_parameters(), ["audio", "watchdog", "spi"]);
    }
}

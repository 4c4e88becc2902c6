//! Which updates a box takes: the root document that goes into its image, given by `UPDATE_ROOT` or the builder's own, and the release
//! whose server the image has, given by `SEQ`, below which nothing is installed.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use posthouse_updater::{ImageRelease, Kind, PRODUCT, Root, RootKey, SecretKey, SignedDocument, Version};
use serde::Serialize;

/// The file of `posthouse release root`, in the builder's folder.
const ROOT_NAME: &str = "root.json";

/// What opens the builder's keys.
const PASSPHRASE_NAME: &str = "passphrase";

/// How the builder's keys are called, and how many of them must sign: one may be lost, and one may be stolen.
const KEY_NAMES: [&str; 3] = ["first", "second", "third"];
const THRESHOLD: usize = 2;

#[derive(Debug, Args)]
pub struct Choice {
    /// A root, as `posthouse release root` makes and people sign it; empty for the builder's own.
    #[arg(long)]
    given: String,
    /// Where the builder's own keys are, or will be.
    #[arg(long)]
    keys: PathBuf,
    /// release or dev.
    #[arg(long)]
    profile: String,
    #[arg(long)]
    out: PathBuf,
    /// As the image calls itself.
    #[arg(long)]
    version: String,
    /// The seq of the release whose server the image has; empty, or 0, where it was never released.
    #[arg(long)]
    seq: String,
    /// Where that is written.
    #[arg(long)]
    release_out: PathBuf,
}

/// What an image's manifest says of it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    version: u32,
    generation: u32,
    threshold: usize,
    /// SHA-256 of each public key, and for people whose it is.
    keys: Vec<(String, String)>,
    test: bool,
}

/// Writes root and release for the image, and gives a line for the person who builds it where there is something to know.
pub fn choose(choice: &Choice) -> anyhow::Result<Option<String>> {
    let seq = choice.seq.trim();
    let seq = if seq.is_empty() { Ok(0) } else { seq.parse::<u64>() };
    let seq = seq.with_context(|| format!("SEQ '{}' is not the number of a release, such as 7", choice.seq))?;
    let version = Version::try_from(choice.version.clone()).map_err(|error| anyhow::anyhow!("VERSION: {error}"))?;
    let (path, said) = if choice.given.is_empty() {
        let path = choice.keys.join(ROOT_NAME);
        let is_new = !path.exists();
        if is_new {
            make_keys(&choice.keys)?;
        }
        let keys = choice.keys.display();
        let said = format!(
            "updates of this image are signed with the keys in {keys}, made now: two of the three, opened by the passphrase beside \
             them; keep them safe and apart from each other, without them no update can be made (UPDATE_ROOT= names another root)"
        );
        (path, is_new.then_some(said))
    } else {
        (PathBuf::from(&choice.given), None)
    };
    let root = read(&path)?;
    ensure!(
        !root.test || choice.profile != "release",
        "{} is for trying things out (made with --test), and a release image does not take it; make a root without --test, or \
         build with PROFILE=dev",
        path.display()
    );
    fs::copy(&path, &choice.out).with_context(|| format!("cannot write {}", choice.out.display()))?;
    let release = serde_json::to_string(&ImageRelease::of(&root, version, seq))?;
    fs::write(&choice.release_out, release + "\n")
        .with_context(|| format!("cannot write {}", choice.release_out.display()))?;
    Ok(said)
}

/// Which release a tree's server is of.
pub fn release(path: &Path) -> anyhow::Result<ImageRelease> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} names no release", path.display()))
}

/// Of the root that is in a tree.
pub fn summary(path: &Path) -> anyhow::Result<Summary> {
    let root = read(path)?;
    let keys = root.keys.iter().map(|key| (key.name.clone(), key.public_key.id().to_string()));
    let Root { version, generation, threshold, test, .. } = root;
    Ok(Summary { version, generation, threshold, keys: keys.collect(), test })
}

/// A root as a box takes it: signed by enough of its own keys.
fn read(path: &Path) -> anyhow::Result<Root> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document: SignedDocument = serde_json::from_slice(&text)
        .map_err(|error| anyhow::anyhow!("{} is no root of updates: {error}", path.display()))?;
    Root::of_image(&document).with_context(|| format!("{} is no root of updates", path.display()))
}

/// All of it or nothing, where two builds begin at once, too.
fn make_keys(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot make keys for updates in {}", folder.display());
    let parent = folder.parent().context("the folder for keys has no parent")?;
    fs::create_dir_all(parent).with_context(context)?;
    let unfinished = tempfile::Builder::new().prefix(".keys-").tempdir_in(parent).with_context(context)?;
    let made = unfinished.path().join("made");
    fs::DirBuilder::new().mode(0o700).create(&made).with_context(context)?;
    let passphrase = passphrase()?;
    write(&made.join(PASSPHRASE_NAME), &passphrase).with_context(context)?;
    let mut secrets = Vec::new();
    let mut keys = Vec::new();
    for name in KEY_NAMES {
        let secret = SecretKey::generate()?;
        write(&made.join(format!("{name}.key")), &secret.to_pem(passphrase.trim())?).with_context(context)?;
        let public = RootKey { name: name.to_owned(), public_key: secret.public() };
        write(&made.join(format!("{name}.key.pub")), &serde_json::to_string_pretty(&public)?).with_context(context)?;
        secrets.push(secret);
        keys.push(public);
    }
    let (version, generation, test) = (1, 1, false);
    let root = Root { product: PRODUCT.to_owned(), version, generation, threshold: THRESHOLD, keys, test };
    let mut document = SignedDocument::new(serde_json::to_vec(&root)?)?;
    for secret in &secrets[..THRESHOLD] {
        document.sign(Kind::Root, secret)?;
    }
    write(&made.join(ROOT_NAME), &serde_json::to_string_pretty(&document)?).with_context(context)?;
    match fs::rename(&made, folder) {
        // Another build was quicker: its keys are as good.
        Err(_) if folder.join(ROOT_NAME).exists() => Ok(()),
        renamed => renamed.with_context(context),
    }
}

/// 128 bits, as hexadecimal digits: nobody has to remember it.
fn passphrase() -> anyhow::Result<String> {
    let key = SecretKey::generate()?.public().id().to_string();
    Ok(format!("{}\n", &key[..32]))
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn choice(folder: &Path, given: &str, profile: &str) -> Choice {
        let [keys, out, release_out] = ["release", "update-root", "image-release"].map(|name| folder.join(name));
        let (version, seq) = ("1.2.3".to_owned(), String::new());
        Choice { given: given.to_owned(), keys, profile: profile.to_owned(), out, version, seq, release_out }
    }

    #[test]
    fn the_builders_own_keys_are_made_once_and_open_by_their_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let choice = choice(folder.path(), "", "release");
        let said = super::choose(&choice).unwrap().expect("keys were made");
        assert!(said.contains(choice.keys.to_str().unwrap()), "{said}");
        let first = fs::read(&choice.out).unwrap();
        assert_eq!(super::choose(&choice).unwrap(), None);
        assert_eq!(fs::read(&choice.out).unwrap(), first);
        let passphrase = fs::read_to_string(choice.keys.join(PASSPHRASE_NAME)).unwrap();
        for name in KEY_NAMES {
            let path = choice.keys.join(format!("{name}.key"));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let pem = fs::read_to_string(path).unwrap();
            assert!(SecretKey::from_pem(&pem, passphrase.trim()).is_ok());
            assert!(SecretKey::from_pem(&pem, "another one").is_err());
        }
        let summary = summary(&choice.out).unwrap();
        assert_eq!((summary.threshold, summary.keys.len(), summary.test), (2, 3, false));
    }

    #[test]
    fn an_image_says_which_release_its_server_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let release = |seq: &str| {
            let choice = Choice { seq: seq.to_owned(), ..choice(folder.path(), "", "release") };
            super::choose(&choice).map(|_| serde_json::from_slice(&fs::read(&choice.release_out).unwrap()).unwrap())
        };
        let written: ImageRelease = release("7").unwrap();
        assert_eq!((written.generation, written.seq, written.version.to_string().as_str()), (1, 7, "1.2.3"));
        assert_eq!(written.place().map(|place| (place.generation, place.seq)), Some((1, 7)));
        let never: ImageRelease = release("").unwrap();
        assert_eq!((never.seq, never.place()), (0, None));
        for bad in ["seven", "-1", "1.5", "99999999999999999999"] {
            let refused = release(bad).unwrap_err();
            assert!(format!("{refused:#}").starts_with(&format!("SEQ '{bad}' is not the number")), "{refused:#}");
        }
    }

    #[test]
    fn a_release_image_refuses_a_root_of_test_keys_and_a_developers_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = choice(folder.path(), "", "release");
        super::choose(&own).unwrap();
        let document: SignedDocument = serde_json::from_slice(&fs::read(&own.out).unwrap()).unwrap();
        let root = Root { test: true, threshold: 1, ..Root::unverified(&document).unwrap() };
        let mut document = SignedDocument::new(serde_json::to_vec(&root).unwrap()).unwrap();
        let unsigned = folder.path().join("unsigned.json");
        fs::write(&unsigned, serde_json::to_vec(&document).unwrap()).unwrap();
        let passphrase = fs::read_to_string(own.keys.join(PASSPHRASE_NAME)).unwrap();
        let pem = fs::read_to_string(own.keys.join("first.key")).unwrap();
        document.sign(Kind::Root, &SecretKey::from_pem(&pem, passphrase.trim()).unwrap()).unwrap();
        let signed = folder.path().join("signed.json");
        fs::write(&signed, serde_json::to_vec(&document).unwrap()).unwrap();

        fs::remove_file(&own.out).unwrap();
        let refused = |given: &Path, profile: &str| {
            let refusal = super::choose(&choice(folder.path(), given.to_str().unwrap(), profile)).unwrap_err();
            assert!(!own.out.exists(), "{refusal:#}");
            format!("{refusal:#}")
        };
        assert!(refused(&signed, "release").contains("for trying things out"), "{}", refused(&signed, "release"));
        assert!(refused(&unsigned, "dev").contains("is no root of updates"), "{}", refused(&unsigned, "dev"));
        assert!(refused(&own.keys.join(PASSPHRASE_NAME), "dev").contains("is no root of updates"));
        assert!(refused(&folder.path().join("missing.json"), "dev").contains("cannot read"));
        super::choose(&choice(folder.path(), signed.to_str().unwrap(), "dev")).unwrap();
        assert!(summary(&own.out).unwrap().test);
    }
}

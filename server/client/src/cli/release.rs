//! Making and signing updates. Runs where releases are made; a box only verifies.
//!
//! A file is passed from one person to the next, and each adds a signature: a root as JSON, a bundle as it is. What is
//! signed is shown first; nothing that a box would refuse for its content gets a signature.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Zoned;
use posthouse_updater::{Bundle, Kind, PRODUCT, Release, Root, RootKey, SecretKey, SignedDocument, Version};

use super::output::Output;
use super::password;

#[derive(Subcommand)]
pub enum ReleaseCommand {
    /// Make a key, encrypted by a passphrase: KEY holds it, KEY.pub is for the others
    Keygen {
        /// Whose it is
        #[arg(long)]
        name: String,
        #[command(flatten)]
        passphrase: Passphrase,
        /// The file to make
        key: PathBuf,
    },
    /// Make the root that says whose keys count; it is signed after that, by as many as it takes
    Root {
        /// The root before it, which the holders of its keys have to sign over to this one
        #[arg(long, value_name = "ROOT")]
        after: Option<PathBuf>,
        /// How many must sign
        #[arg(long, default_value_t = 2)]
        threshold: usize,
        /// Begin a new generation: after keys were stolen, releases count from 1 again
        #[arg(long)]
        new_generation: bool,
        /// Keys for trying things out, which images for people refuse
        #[arg(long)]
        test: bool,
        /// The file to make
        #[arg(long)]
        out: PathBuf,
        /// Everybody's KEY.pub
        #[arg(required = true)]
        keys: Vec<PathBuf>,
    },
    /// Make a bundle of a binary; it is signed after that, by as many as it takes
    Bundle(Box<BundleArguments>),
    /// Add your signature to a root or a bundle, in place
    Sign {
        /// Your key
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
        /// What to sign
        file: PathBuf,
    },
    /// Show what a root or a bundle says, and who has signed it
    Inspect {
        /// The root whose keys are to have signed it
        #[arg(long)]
        root: Option<PathBuf>,
        /// What to show
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct Passphrase {
    /// Read the passphrase from standard input
    #[arg(long)]
    passphrase_stdin: bool,
}

#[derive(Args)]
pub struct BundleArguments {
    /// The root by whose keys it will be signed; give those before it, too, for boxes that have missed them
    #[arg(long = "root", required = true)]
    roots: Vec<PathBuf>,
    /// The machine that it runs on
    #[arg(long, default_value = "aarch64")]
    arch: String,
    /// Who is to get it
    #[arg(long, default_value = "stable")]
    channel: String,
    /// Above that of the release before
    #[arg(long)]
    seq: u64,
    /// For people
    #[arg(long, value_parser = |text: &str| Version::try_from(text.to_owned()))]
    version: Version,
    /// The schema of the databases that it writes
    #[arg(long)]
    schema: u32,
    /// The oldest schema whose servers can read what it writes
    #[arg(long)]
    min_reader: u32,
    /// Once it is confirmed, nothing below this seq is installed or gone back to
    #[arg(long, default_value_t = 0)]
    min_seq: u64,
    /// What is new, for people
    #[arg(long, default_value = "")]
    notes: String,
    /// The file to make
    #[arg(long)]
    out: PathBuf,
    /// The server
    binary: PathBuf,
}

pub fn run(command: ReleaseCommand, output: Output) -> anyhow::Result<()> {
    match command {
        ReleaseCommand::Keygen { name, passphrase, key } => keygen(name, &passphrase, &key, output),
        ReleaseCommand::Root { after, threshold, new_generation, test, out, keys } => {
            let before = after.as_deref().map(read_root).transpose()?.map(|(_, root)| root);
            let keys = keys.iter().map(|path| read_json(path, "a public key")).collect::<anyhow::Result<_>>()?;
            let root = Root {
                product: PRODUCT.to_owned(),
                version: before.as_ref().map_or(1, |before| before.version + 1),
                generation: before.as_ref().map_or(1, |before| before.generation) + u32::from(new_generation),
                threshold,
                keys,
                test,
            };
            root.check().map_err(anyhow::Error::msg)?;
            let document = SignedDocument::new(serde_json::to_vec(&root)?)?;
            write_new(&out, &serde_json::to_vec_pretty(&document)?)?;
            output.done_with(&format!("Root {} is in {}: sign it.", root.version, out.display()), &root);
            Ok(())
        }
        ReleaseCommand::Bundle(arguments) => bundle(&arguments, output),
        ReleaseCommand::Sign { key, passphrase, file } => sign(&key, &passphrase, &file, output),
        ReleaseCommand::Inspect { root, file } => inspect(root.as_deref(), &file, output),
    }
}

fn keygen(name: String, passphrase: &Passphrase, path: &Path, output: Output) -> anyhow::Result<()> {
    let passphrase = passphrase.ask("Passphrase for the new key: ")?;
    ensure!(passphrase.chars().count() >= 8, "a passphrase has 8 characters or more");
    let key = SecretKey::generate()?;
    write_new(path, key.to_pem(&passphrase)?.as_bytes())?;
    let public = RootKey { name, public_key: key.public() };
    let public_path = beside(path, ".pub");
    write_new(&public_path, &serde_json::to_vec_pretty(&public)?)?;
    let said = format!("The key is in {}, its public half in {}.", path.display(), public_path.display());
    output.done_with(&said, &public);
    Ok(())
}

fn bundle(arguments: &BundleArguments, output: Output) -> anyhow::Result<()> {
    let mut roots = Vec::new();
    for path in &arguments.roots {
        roots.push(read_root(path)?);
    }
    roots.sort_by_key(|(_, root)| root.version);
    let generation = roots.last().map_or(1, |(_, root)| root.generation);
    let binary =
        std::fs::read(&arguments.binary).with_context(|| format!("cannot read {}", arguments.binary.display()))?;
    let packed = posthouse_updater::pack(&binary)?;
    let release = Release {
        arch: arguments.arch.clone(),
        channel: arguments.channel.clone(),
        generation,
        schema: arguments.schema,
        min_reader: arguments.min_reader,
        min_seq: arguments.min_seq,
        notes: arguments.notes.clone(),
        ..Release::of(arguments.version.clone(), arguments.seq, today(), &binary, &packed)
    };
    release.check().map_err(anyhow::Error::msg)?;
    let roots = roots.into_iter().map(|(document, _)| document).collect();
    let bytes = Bundle::file(roots, &release, &packed, &[])?;
    write_new(&arguments.out, &bytes)?;
    let said = format!("Version {} is in {}: sign it.", release.version, arguments.out.display());
    output.done_with(&said, &release);
    Ok(())
}

fn sign(key: &Path, passphrase: &Passphrase, path: &Path, output: Output) -> anyhow::Result<()> {
    let pem = std::fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
    let mut what = Signable::read(path)?;
    let said = what.described()?;
    let key = SecretKey::from_pem(&pem, &passphrase.ask(&format!("{said}\nPassphrase, to sign this: "))?)?;
    match &mut what {
        Signable::Root(document) => document.sign(Kind::Root, &key)?,
        Signable::Bundle(bundle, _) => bundle.release_mut().sign(Kind::Release, &key)?,
    }
    what.write(path)?;
    let id = key.public().id();
    output.done_with(&format!("Signed by {id}."), &serde_json::json!({ "signed_by": id }));
    Ok(())
}

fn inspect(root: Option<&Path>, path: &Path, output: Output) -> anyhow::Result<()> {
    let what = Signable::read(path)?;
    let (kind, document) = what.document();
    let judge = match (root, &what) {
        (Some(path), _) => read_root(path)?.1,
        (None, Signable::Root(document)) => Root::unverified(document)?,
        (None, Signable::Bundle(bundle, _)) => {
            let last = bundle.roots().last().context("the bundle has no root: name one by --root")?;
            Root::unverified(last)?
        }
    };
    let signers = document.signers(kind, &judge.public_keys());
    let names: Vec<&str> =
        judge.keys.iter().filter(|key| signers.contains(&key.public_key)).map(|key| key.name.as_str()).collect();
    let content: serde_json::Value = serde_json::from_slice(document.unverified())?;
    if let Signable::Bundle(_, packed) = &what {
        let release = Release::unverified(document).map_err(anyhow::Error::msg)?;
        release.check_packed(packed.as_slice())?;
        release.unpack(packed.as_slice(), &mut io::sink())?;
    }
    let said = format!(
        "{}\nSigned by {} of {} needed: {}",
        what.described()?,
        names.len(),
        judge.threshold,
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    );
    let result = serde_json::json!({ "content": content, "signed_by": names, "threshold": judge.threshold });
    output.done_with(&said, &result);
    Ok(())
}

/// What people sign.
enum Signable {
    Root(SignedDocument),
    /// With the packed binary.
    Bundle(Bundle, Vec<u8>),
}

impl Signable {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(context)?;
        match Bundle::read(&mut file) {
            Ok(bundle) => {
                let mut packed = Vec::new();
                io::copy(&mut file, &mut packed).with_context(context)?;
                Ok(Self::Bundle(bundle, packed))
            }
            Err(posthouse_updater::BundleError::NotABundle | posthouse_updater::BundleError::Document(_)) => {
                file.rewind()?;
                let document = serde_json::from_reader(file)
                    .map_err(|error| anyhow::anyhow!("{} is neither a bundle nor a root: {error}", path.display()))?;
                Ok(Self::Root(document))
            }
            Err(error) => Err(error).with_context(context),
        }
    }

    fn document(&self) -> (Kind, &SignedDocument) {
        match self {
            Self::Root(document) => (Kind::Root, document),
            Self::Bundle(bundle, _) => (Kind::Release, bundle.release()),
        }
    }

    /// For people, who decide by it whether to sign. What a box would refuse is refused here.
    fn described(&self) -> anyhow::Result<String> {
        match self {
            Self::Root(document) => {
                let root = Root::unverified(document)?;
                let names: Vec<&str> = root.keys.iter().map(|key| key.name.as_str()).collect();
                let (version, generation, of) = (root.version, root.generation, root.keys.len());
                let threshold = root.threshold;
                let test = if root.test { "; for trying things out only" } else { "" };
                let who = names.join(", ");
                Ok(format!("Root {version}, generation {generation}: {threshold} of {of} must sign ({who}){test}"))
            }
            Self::Bundle(bundle, packed) => {
                let release = Release::unverified(bundle.release()).map_err(anyhow::Error::msg)?;
                release.check_packed(packed.as_slice())?;
                let Release { version, arch, channel, seq, length, sha256, .. } = &release;
                Ok(format!("Version {version} for {arch}, {channel}, seq {seq}: {length} bytes, SHA-256 {sha256}"))
            }
        }
    }

    /// In place of what was there, whole or not at all.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        match self {
            Self::Root(document) => bytes = serde_json::to_vec_pretty(document)?,
            Self::Bundle(bundle, packed) => {
                bundle.write(&mut bytes)?;
                bytes.extend_from_slice(packed);
            }
        }
        let new = beside(path, ".new");
        write_new(&new, &bytes)?;
        std::fs::rename(&new, path).with_context(|| format!("cannot replace {}", path.display()))
    }
}

impl Passphrase {
    fn ask(&self, prompt: &str) -> anyhow::Result<String> {
        password(prompt, self.passphrase_stdin)
    }
}

fn read_root(path: &Path) -> anyhow::Result<(SignedDocument, Root)> {
    let document: SignedDocument = read_json(path, "a root")?;
    let root = Root::unverified(&document).with_context(|| format!("{} is no root", path.display()))?;
    Ok((document, root))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| anyhow::anyhow!("{} is not {what}: {error}", path.display()))
}

/// Never over something: a key or a release that is gone is gone.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut file = private(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: remove it first, or name another file", path.display())
        }
        result => result.with_context(|| format!("cannot write {}", path.display())),
    }
}

#[cfg(unix)]
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Days since 1970-01-01, UTC.
fn today() -> u32 {
    let seconds = Zoned::now().timestamp().as_second();
    u32::try_from(seconds / 86_400).unwrap_or_default()
}

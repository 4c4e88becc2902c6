//! Bundles of any program, signed by people who are made for it, as `posthouse release` makes them.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use posthouse_updater::{Bundle, Kind, PRODUCT, Release, Root, RootKey, SecretKey, SignedDocument};

use crate::fault::Fault;
use crate::programs;

/// Packs quickly: how well does not matter here.
const LEVEL: i32 = 1;

/// How far an unpacker looks back, as a power of two: what the box takes.
const WINDOW_LOG: u32 = 23;

/// Offset of the machine in an ELF header (`e_machine`), and one that this is not (man elf).
const ELF_MACHINE: usize = 18;
const EM_S390: u8 = 22;

/// Three people, two of whom sign.
pub struct Signers {
    keys: Vec<SecretKey>,
    root: SignedDocument,
    seq: AtomicU64,
    said: Said,
}

/// What a server says of itself.
#[derive(serde::Deserialize)]
struct Said {
    version: String,
    arch: String,
    schema: u32,
    min_reader: u32,
}

impl Signers {
    /// With new keys, for releases of this server.
    ///
    /// # Panics
    /// When the server does not say what it is.
    pub fn new(server: &Path) -> Self {
        let said = Command::new(server).arg("--selfcheck").output().expect("the server starts");
        let said = serde_json::from_slice(&said.stdout).expect("it says what it is");
        let keys: Vec<SecretKey> = (0..3).map(|_| SecretKey::generate().expect("a key")).collect();
        let names = ["Anna", "Ben", "Carol"];
        let named = |(name, key): (&str, &SecretKey)| RootKey { name: name.to_owned(), public_key: key.public() };
        let root = Root {
            product: PRODUCT.to_owned(),
            version: 1,
            generation: 1,
            threshold: 2,
            keys: names.into_iter().zip(&keys).map(named).collect(),
            test: false,
        };
        let mut root = SignedDocument::new(serde_json::to_vec(&root).expect("JSON")).expect("short");
        keys[..2].iter().try_for_each(|key| root.sign(Kind::Root, key)).expect("signed");
        Self { keys, root, seq: AtomicU64::new(1), said }
    }

    /// The root's file, for the image.
    pub fn root(&self) -> Vec<u8> {
        serde_json::to_vec(&self.root).expect("JSON")
    }

    /// The next release: this program, which writes databases of this schema, or of the server's own.
    pub fn bundle(&self, program: &[u8], schema: Option<u32>) -> Vec<u8> {
        let packed = packed(program);
        // The same server, whatever is wrong with it.
        let version = self.said.version.clone().try_into().expect("a version");
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let release = Release {
            arch: self.said.arch.clone(),
            schema: schema.unwrap_or(self.said.schema),
            min_reader: self.said.min_reader,
            ..Release::of(version, seq, 20_000, program, &packed)
        };
        Bundle::file(Vec::new(), &release, &packed, &self.keys[..2]).expect("a bundle")
    }
}

/// One Zstandard frame that says how long it unpacks to.
fn packed(program: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).expect("memory");
    encoder.window_log(WINDOW_LOG).expect("a window");
    encoder.set_pledged_src_size(Some(program.len() as u64)).expect("a size");
    encoder.include_contentsize(true).expect("a size");
    encoder.write_all(program).expect("memory");
    encoder.finish().expect("memory")
}

/// What builds are made of: the server of these tests, without what only debuggers read.
pub struct Parts {
    program: Vec<u8>,
}

impl Parts {
    /// Reads it.
    ///
    /// # Panics
    /// When `strip` is not there; it comes with the linker.
    pub fn new() -> Self {
        Self::of(&programs::build())
    }

    /// The same of another one.
    ///
    /// # Panics
    /// As above.
    pub fn of(server: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stripped");
        let status = Command::new("strip").arg("-o").arg(&path).arg(server).status();
        assert!(status.expect("strip (binutils)").success(), "strip failed");
        Self { program: std::fs::read(path).expect("the stripped server") }
    }

    /// A build with this fault.
    pub fn with(&self, fault: Fault) -> Vec<u8> {
        self.salted(fault, "")
    }

    /// Another one with the same fault.
    pub fn salted(&self, fault: Fault, salt: &str) -> Vec<u8> {
        [&self.program[..], &fault.tail(salt)].concat()
    }

    /// One that every log-in is refused by: it does not know the method's name any more.
    pub fn without_login(&self) -> Vec<u8> {
        const NAME: &[u8] = b"login";
        let mut program = self.salted(Fault::None, "no log-ins");
        let places: Vec<usize> = (0..program.len() - NAME.len()).filter(|i| program[*i..].starts_with(NAME)).collect();
        assert!(!places.is_empty(), "the method's name is not in the program");
        for place in places {
            program[place..place + NAME.len()].reverse();
        }
        program
    }

    /// One for another processor.
    pub fn for_another_machine(&self) -> Vec<u8> {
        let mut program = self.salted(Fault::None, "another machine");
        assert_eq!(&program[..4], b"\x7fELF");
        program[ELF_MACHINE] = EM_S390;
        program
    }

    /// One that was cut off before it was signed.
    pub fn truncated(&self) -> Vec<u8> {
        self.program[..self.program.len() / 3].to_vec()
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::new()
    }
}

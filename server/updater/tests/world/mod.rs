//! Three people with a key each, two of whom must sign, a small binary, and a box that trusts them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Cursor, Read, Seek};

use posthouse_updater::{
    Bundle, BundleError, Installed, Kind, PRODUCT, Ratchet, Release, Root, RootKey, SecretKey, SignedDocument, Trust,
    TrustError,
};

pub const ARCH: &str = "aarch64";
pub const CHANNEL: &str = "stable";

pub struct World {
    pub keys: Vec<SecretKey>,
    pub root: Root,
    pub binary: Vec<u8>,
    pub packed: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl World {
    pub fn new() -> Self {
        // Not all of it is the same, so that it is packed to something.
        let binary = (0..2000_u32).flat_map(|i| (i * i).to_le_bytes()).take(2000).collect();
        Self::of(1, Self::three_keys(), binary)
    }

    /// Another binary, by the same people.
    pub fn like(other: &Self) -> Self {
        Self { keys: Vec::new(), root: other.root.clone(), binary: Vec::new(), packed: Vec::new() }
    }

    pub fn repacked(mut self) -> Self {
        self.packed = posthouse_updater::pack(&self.binary).expect("packed");
        self
    }

    /// Other people, in whose favour those of `root` step back.
    pub fn successor(&self, root: &Root, version: u32) -> Self {
        let mut world = Self::of(version, Self::three_keys(), self.binary.clone());
        world.root.generation = root.generation;
        world
    }

    fn three_keys() -> Vec<SecretKey> {
        (0..3).map(|_| SecretKey::generate().expect("a key")).collect()
    }

    fn of(version: u32, keys: Vec<SecretKey>, binary: Vec<u8>) -> Self {
        let named = |(i, key): (usize, &SecretKey)| RootKey { name: format!("person {i}"), public_key: key.public() };
        let root = Root {
            product: PRODUCT.to_owned(),
            version,
            generation: 1,
            threshold: 2,
            keys: keys.iter().enumerate().map(named).collect(),
            test: true,
        };
        Self { keys, root, binary, packed: Vec::new() }.repacked()
    }

    pub fn release(&self, seq: u64) -> Release {
        let version = format!("0.{seq}.0").try_into().expect("a version");
        let notes = "What is new / 更新内容".to_owned();
        let (arch, channel) = (ARCH.to_owned(), CHANNEL.to_owned());
        Release { arch, channel, notes, ..Release::of(version, seq, 20_000, &self.binary, &self.packed) }
    }

    pub fn signed_release(&self, release: &Release, signers: &[usize]) -> SignedDocument {
        self.signed(Kind::Release, serde_json::to_vec(release).expect("JSON"), signers)
    }

    pub fn signed_root(&self, root: &Root, signers: &[usize]) -> SignedDocument {
        self.signed(Kind::Root, serde_json::to_vec(root).expect("JSON"), signers)
    }

    pub fn signed_by_both(old: &Self, new: &Self, root: &Root) -> SignedDocument {
        let mut document = old.signed_root(root, &[0, 1]);
        for key in &new.keys {
            document.sign(Kind::Root, key).expect("signed");
        }
        document
    }

    fn signed(&self, kind: Kind, content: Vec<u8>, signers: &[usize]) -> SignedDocument {
        let mut document = SignedDocument::new(content).expect("short");
        for signer in signers {
            document.sign(kind, &self.keys[*signer]).expect("signed");
        }
        document
    }

    /// Signed by all three.
    pub fn bundle(&self, seq: u64) -> Vec<u8> {
        self.bundle_of(&[], self.signed_release(&self.release(seq), &[0, 1, 2]), &self.packed)
    }

    pub fn bundle_of(&self, roots: &[SignedDocument], release: SignedDocument, packed: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Bundle::new(roots.to_vec(), release).expect("few roots").write(&mut bytes).expect("written");
        bytes.extend_from_slice(packed);
        bytes
    }

    /// Whether that byte of [`World::bundle`] belongs to one of three signatures, of which two suffice.
    pub fn is_spare_signature(&self, place: usize) -> bool {
        let head = self.bundle(2).len() - self.packed.len();
        (head - 3 * 96..head).contains(&place)
    }

    pub fn trust(&self) -> Trust {
        let ratchet = Ratchet { generation: 1, seq: 1, min_seq: 0 };
        Trust::of_image(&self.signed_root(&self.root, &[0, 1]), ratchet).expect("a whole root")
    }

    /// What a box does with a bundle before it runs anything of it.
    pub fn install(&self, bundle: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.install_with(&self.trust(), bundle)
    }

    pub fn install_with(&self, trust: &Trust, bundle: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut file = Cursor::new(bundle);
        let (_, release) = trust.accept(&Bundle::read(&mut file)?, ARCH, CHANNEL)?;
        let start = file.position();
        release.check_packed(&mut file)?;
        file.seek(std::io::SeekFrom::Start(start)).map_err(BundleError::Io)?;
        let mut binary = Vec::new();
        release.unpack(file, &mut binary)?;
        Ok(binary)
    }

    /// From a source that can be read once only.
    pub fn install_from(&self, mut file: impl Read) -> Result<Vec<u8>, Refusal> {
        let (_, release) = self.trust().accept(&Bundle::read(&mut file)?, ARCH, CHANNEL)?;
        release.check_packed(&mut file)?;
        unreachable!("it does not end")
    }
}

pub fn installed(generation: u32, seq: u64) -> Installed {
    Installed { generation, seq }
}

/// A bundle after which zeros come without end.
pub struct Endless<'a> {
    bundle: Cursor<&'a [u8]>,
    read: &'a mut usize,
}

impl<'a> Endless<'a> {
    pub fn new(bundle: &'a [u8], read: &'a mut usize) -> Self {
        Self { bundle: Cursor::new(bundle), read }
    }
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut read = self.bundle.read(buffer)?;
        if read == 0 {
            buffer.fill(0);
            read = buffer.len();
        }
        *self.read += read;
        Ok(read)
    }
}

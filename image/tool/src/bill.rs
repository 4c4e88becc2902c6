//! An image's bill of materials, in CycloneDX's form and by the library of the CycloneDX project.
//!
//! The stage `pack` has it made from the manifest, which knows each package's .deb and its hash; a scanner of the finished
//! tree can't, since apt's indexes are not in it. Hence no scanner's output is used.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use cyclonedx_bom::models::component::Classification;
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::prelude::{Bom, Component, Components, DateTime, Metadata, SpecVersion, UrnUuid, Validate as _};
use serde_json::Value;

/// The newest that the library of the CycloneDX project writes.
const SPECIFICATION: SpecVersion = SpecVersion::V1_5;

#[derive(Debug, Args)]
pub struct Billed {
    #[arg(long)]
    manifest: PathBuf,
    /// The server's crates, one `name vVERSION` a line, as `cargo tree` prints them.
    #[arg(long)]
    crates: PathBuf,
    /// Cargo.lock, which has their hashes.
    #[arg(long)]
    lock: PathBuf,
    #[arg(long)]
    out: PathBuf,
}

pub fn write(billed: &Billed) -> anyhow::Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let manifest: Value = serde_json::from_str(&read(&billed.manifest)?).context("the manifest is not JSON")?;
    let crates = crates(&read(&billed.crates)?, &read(&billed.lock)?)?;
    let mut bytes = Vec::new();
    bill(&manifest, &crates)?.output_as_json(&mut bytes, SPECIFICATION)?;
    bytes.push(b'\n');
    fs::write(&billed.out, bytes).with_context(|| format!("cannot write {}", billed.out.display()))
}

struct Crate {
    name: String,
    version: String,
    sha256: Option<String>,
}

/// The listed crates with their hashes; the workspace's own have none.
fn crates(tree: &str, lock: &str) -> anyhow::Result<Vec<Crate>> {
    let lock: toml::Table = toml::from_str(lock).context("Cargo.lock is not TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock names no package")?;
    let field = |package: &toml::Value, key: &str| package.get(key)?.as_str().map(str::to_owned);
    let hashes: BTreeMap<_, _> = packages
        .iter()
        .map(|package| ((field(package, "name"), field(package, "version")), field(package, "checksum")))
        .collect();
    let mut found = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let version = words.next().and_then(|word| word.strip_prefix('v')).unwrap_or_default().to_owned();
        let key = (Some(name.clone()), Some(version.clone()));
        let sha256 = hashes.get(&key).with_context(|| format!("Cargo.lock does not know {line}"))?.clone();
        found.push(Crate { name, version, sha256 });
    }
    ensure!(!found.is_empty(), "the server is made of no crate");
    Ok(found)
}

fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("the manifest lacks {pointer}"))
}

/// Valid by the library's own rules, which are the specification's.
fn bill(manifest: &Value, crates: &[Crate]) -> anyhow::Result<Bom> {
    let image = text(manifest, "/image/sha256")?;
    let mut components = Vec::new();
    for package in manifest["packages"].as_array().context("the manifest lists no packages")? {
        let (name, version) = (text(package, "/name")?, text(package, "/version")?);
        let architecture = text(package, "/architecture")?;
        let purl = format!("pkg:deb/debian/{}@{}?arch={architecture}&distro=trixie", escape(name), escape(version));
        components.push(library(name, version, &purl, Some(text(package, "/sha256")?)));
    }
    for part in crates {
        let purl = format!("pkg:cargo/{}@{}", part.name, escape(&part.version));
        components.push(library(&part.name, &part.version, &purl, part.sha256.as_deref()));
    }
    let seconds = manifest["source_date_epoch"].as_i64().context("the manifest lacks source_date_epoch")?;
    let (file, version) = (text(manifest, "/image/file")?, text(manifest, "/version")?);
    let mut system = Component::new(Classification::OperatingSystem, file, version, Some("image".to_owned()));
    system.hashes = Some(hashes(image));
    let metadata = Metadata {
        timestamp: Some(DateTime::try_from(jiff::Timestamp::from_second(seconds)?.to_string())?),
        component: Some(system),
        ..Metadata::default()
    };
    let bill = Bom {
        spec_version: SPECIFICATION,
        serial_number: Some(UrnUuid(serial_number(image))),
        metadata: Some(metadata),
        components: Some(Components(components)),
        ..Bom::default()
    };
    let found = bill.validate_version(SPECIFICATION);
    ensure!(found.passed(), "the bill of materials is not valid: {:?}", found.errors().collect::<Vec<_>>());
    Ok(bill)
}

fn library(name: &str, version: &str, purl: &str, sha256: Option<&str>) -> Component {
    let mut component = Component::new(Classification::Library, name, version, Some(purl.to_owned()));
    component.purl = purl.parse().ok();
    component.hashes = sha256.map(hashes);
    component
}

/// package-url's own rule: what is not a letter, digit or one of .-_~ is written as %XX.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn hashes(sha256: &str) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(sha256.to_owned()) }])
}

/// A UUID that follows from the image's hash alone (RFC 9562, version 8): the same image has the same bill.
fn serial_number(hash: &str) -> String {
    let digit = |at: usize| hash.get(at..=at).unwrap_or("0");
    let hex: String = (0..32).map(digit).collect();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    const LOCK: &str = "[[package]]\nname = \"redb\"\nversion = \"4.6.0\"\nchecksum = \"bebebebebebebebebebebebebebebebe\
                        bebebebebebebebebebebebebebebebe\"\n\n\
                        [[package]]\nname = \"posthouse-server\"\nversion = \"0.1.0\"\n";

    fn json(bill: Bom) -> Value {
        let mut bytes = Vec::new();
        bill.output_as_json(&mut bytes, SPECIFICATION).expect("JSON");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn the_bill_names_packages_and_crates_with_their_hashes() {
        let crates = crates("redb v4.6.0\nposthouse-server v0.1.0 (/somewhere)\n", LOCK).expect("crates");
        let bill = json(bill(&example(), &crates).expect("a bill"));
        let purls: Vec<_> =
            bill["components"].as_array().expect("components").iter().map(|part| &part["purl"]).collect();
        assert_eq!(
            purls,
            [
                "pkg:deb/debian/libstdc%2B%2B6@1%3A2%2Bb1?arch=arm64&distro=trixie",
                "pkg:cargo/redb@4.6.0",
                "pkg:cargo/posthouse-server@0.1.0",
            ]
        );
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "01".repeat(32));
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "be".repeat(32));
        assert_eq!(bill["components"][2].get("hashes"), None);
        assert_eq!(bill["serialNumber"], "urn:uuid:abababab-abab-8bab-8bab-abababababab");
        assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_bill_that_is_not_valid_is_not_written() {
        let crates = crates("redb v4.6.0\n", LOCK).expect("crates");
        let mut manifest = example();
        manifest["packages"][0]["sha256"] = Value::String("0123".to_owned());
        let error = bill(&manifest, &crates).expect_err("it was taken");
        assert!(error.to_string().starts_with("the bill of materials is not valid: "), "{error}");
    }

    #[test]
    fn a_crate_that_the_lock_does_not_know_is_named() {
        let error = crates("redb v4.7.0\n", LOCK).err().expect("it was taken");
        assert_eq!(error.to_string(), "Cargo.lock does not know redb v4.7.0");
        assert!(crates("", LOCK).is_err());
    }
}

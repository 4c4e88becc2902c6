//! What goes out beside an image: its bill of materials (CycloneDX 1.6) and its entry for Raspberry Pi Imager.
//!
//! The stage `pack` has both made from the manifest, which knows each package's .deb and its hash; a scanner of the finished
//! tree can't, since apt's indexes are not in it. Hence no other tool's output is used.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

/// Imager's tag for Pi 4B, Pi 400 and CM4 with a 64-bit system.
const DEVICE: &str = "pi4-64bit";
/// One of Imager's own icons; any other would have to be fetched.
const ICON: &str = "icons/use_custom.png";

#[derive(Debug, Args)]
pub struct Papers {
    #[arg(long)]
    manifest: PathBuf,
    /// The server's crates, one `name vVERSION` a line, as `cargo tree` prints them.
    #[arg(long)]
    crates: PathBuf,
    /// Cargo.lock, which has their hashes.
    #[arg(long)]
    lock: PathBuf,
    /// The folder, as an address, that the image will be offered in.
    #[arg(long)]
    address: String,
    #[arg(long)]
    sbom: PathBuf,
    #[arg(long)]
    imager: PathBuf,
}

pub fn write(papers: &Papers) -> anyhow::Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let manifest: Value = serde_json::from_str(&read(&papers.manifest)?).context("the manifest is not JSON")?;
    let crates = crates(&read(&papers.crates)?, &read(&papers.lock)?)?;
    let save = |path: &Path, value: &Value| -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    save(&papers.sbom, &sbom(&manifest, &crates)?)?;
    save(&papers.imager, &imager(&manifest, &papers.address)?)
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

fn sbom(manifest: &Value, crates: &[Crate]) -> anyhow::Result<Value> {
    let image = text(manifest, "/image/sha256")?;
    let mut components = Vec::new();
    for package in manifest["packages"].as_array().context("the manifest lists no packages")? {
        let (name, version) = (text(package, "/name")?, text(package, "/version")?);
        let architecture = text(package, "/architecture")?;
        // package-url's own rule: what is not a letter, digit or one of .-_~ is written as %XX.
        let purl = format!("pkg:deb/debian/{name}@{}?arch={architecture}&distro=trixie", escape(version));
        components.push(component(name, version, &purl.replace(name, &escape(name)), Some(text(package, "/sha256")?)));
    }
    for part in crates {
        let purl = format!("pkg:cargo/{}@{}", part.name, escape(&part.version));
        components.push(component(&part.name, &part.version, &purl, part.sha256.as_deref()));
    }
    let seconds = manifest["source_date_epoch"].as_i64().context("the manifest lacks source_date_epoch")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(image),
        "version": 1,
        "metadata": {
            "timestamp": jiff::Timestamp::from_second(seconds)?.to_string(),
            "component": {
                "type": "operating-system",
                "bom-ref": "image",
                "name": text(manifest, "/image/file")?,
                "version": text(manifest, "/version")?,
                "hashes": [{ "alg": "SHA-256", "content": image }],
            },
        },
        "components": components,
    }))
}

fn component(name: &str, version: &str, purl: &str, sha256: Option<&str>) -> Value {
    let mut component = json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl });
    if let Some(hash) = sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    component
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A UUID that follows from the image's hash alone (RFC 9562, version 8): the same image has the same bill.
fn serial_number(hash: &str) -> String {
    let digit = |at: usize| hash.get(at..=at).unwrap_or("0");
    let hex: String = (0..32).map(digit).collect();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn imager(manifest: &Value, address: &str) -> anyhow::Result<Value> {
    let file = text(manifest, "/image/file")?;
    let version = text(manifest, "/version")?;
    let seconds = manifest["source_date_epoch"].as_i64().context("the manifest lacks source_date_epoch")?;
    let day = jiff::Timestamp::from_second(seconds)?.to_string();
    Ok(json!({ "os_list": [{
        "name": format!("Posthouse {version}"),
        "description": "A private instant-messaging server for a company, a school or a workshop",
        "icon": ICON,
        "url": format!("{}/{file}", address.trim_end_matches('/')),
        "extract_size": manifest["image"]["raw_size_bytes"],
        "extract_sha256": text(manifest, "/image/raw_sha256")?,
        "image_download_size": manifest["image"]["size_bytes"],
        "image_download_sha256": text(manifest, "/image/sha256")?,
        "release_date": day.split('T').next().unwrap_or_default(),
        "devices": [DEVICE],
        // The box has a way of its own to be set up: Imager's would write a script that nobody runs.
        "init_format": "none",
    }] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"redb\"\nversion = \"4.6.0\"\nchecksum = \"beef\"\n\n\
                        [[package]]\nname = \"posthouse-server\"\nversion = \"0.1.0\"\n";

    fn manifest() -> Value {
        json!({
            "version": "1.2.3",
            "source_date_epoch": 1_700_000_000,
            "image": { "file": "x.img.xz", "size_bytes": 10, "sha256": "ab".repeat(32), "raw_size_bytes": 20,
                       "raw_sha256": "cd".repeat(32) },
            "packages": [{ "name": "libstdc++6", "version": "1:2+b1", "architecture": "arm64", "sha256": "0123" }],
        })
    }

    #[test]
    fn the_bill_names_packages_and_crates_with_their_hashes() {
        let crates = crates("redb v4.6.0\nposthouse-server v0.1.0 (/somewhere)\n", LOCK).expect("crates");
        let bill = sbom(&manifest(), &crates).expect("a bill");
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
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "0123");
        assert_eq!(bill["components"][1]["hashes"][0]["content"], "beef");
        assert_eq!(bill["components"][2].get("hashes"), None);
        assert_eq!(bill["serialNumber"], "urn:uuid:abababab-abab-8bab-8bab-abababababab");
        assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_crate_that_the_lock_does_not_know_is_named() {
        let error = crates("redb v4.7.0\n", LOCK).err().expect("it was taken");
        assert_eq!(error.to_string(), "Cargo.lock does not know redb v4.7.0");
        assert!(crates("", LOCK).is_err());
    }

    /// Our reading of Imager's own schema (doc/json-schema in its repository).
    fn schema() -> jsonschema::Validator {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/imager.schema.json");
        let schema = serde_json::from_str(&fs::read_to_string(path).expect("the schema")).expect("JSON");
        jsonschema::validator_for(&schema).expect("a schema")
    }

    #[test]
    fn the_entry_for_imager_fits_its_schema() {
        let entry = imager(&manifest(), "https://example.org/posthouse/").expect("an entry");
        assert!(schema().is_valid(&entry), "{entry}");
        assert_eq!(entry["os_list"][0]["url"], "https://example.org/posthouse/x.img.xz");
        assert_eq!(entry["os_list"][0]["release_date"], "2023-11-14");
        for field in
            entry["os_list"][0].as_object().expect("an object").keys().filter(|key| *key != "image_download_sha256")
        {
            let mut broken = entry.clone();
            broken["os_list"][0].as_object_mut().expect("an object").remove(field);
            assert!(!schema().is_valid(&broken), "the schema does not miss {field}");
        }
    }
}

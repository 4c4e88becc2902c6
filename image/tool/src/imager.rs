//! An image's entry for Raspberry Pi Imager, which takes it from a `.rpi-imager-manifest`.
//!
//! Imager resolves no relative address: the entry is made for a place, at release by the stage `pack` and for this machine by
//! image/imager.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};

/// Imager's tag for Pi 4B, Pi 400 and CM4 with a 64-bit system.
const DEVICE: &str = "pi4-64bit";
/// One of Imager's own icons; any other would have to be fetched.
const ICON: &str = "icons/use_custom.png";

#[derive(Debug, Args)]
pub struct Offer {
    #[arg(long)]
    manifest: PathBuf,
    /// The folder, as an address, that the image is offered in.
    #[arg(long)]
    address: String,
    #[arg(long)]
    out: PathBuf,
}

pub fn write(offer: &Offer) -> anyhow::Result<()> {
    let path = offer.manifest.display();
    let manifest = fs::read_to_string(&offer.manifest).with_context(|| format!("cannot read {path}"))?;
    let manifest = serde_json::from_str(&manifest).with_context(|| format!("{path} is not JSON"))?;
    let found = entry(&manifest, &offer.address)?;
    fs::write(&offer.out, serde_json::to_string_pretty(&found)? + "\n")
        .with_context(|| format!("cannot write {}", offer.out.display()))
}

fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("the manifest lacks {pointer}"))
}

fn entry(manifest: &Value, address: &str) -> anyhow::Result<Value> {
    let full = ["https://", "http://", "file:///"].iter().any(|scheme| address.starts_with(scheme));
    ensure!(
        full && !address.contains(char::is_whitespace),
        "'{address}' is no full address (https://…, http://…, file:///…)"
    );
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
        // What Imager's page asks for comes as two files onto the boot partition, of which the box takes what it understands.
        "init_format": "cloudinit",
    }] }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest::tests::example;

    /// Our reading of Imager's own schema (doc/json-schema in its repository).
    fn schema() -> jsonschema::Validator {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/imager.schema.json");
        let schema = serde_json::from_str(&fs::read_to_string(path).expect("the schema")).expect("JSON");
        jsonschema::validator_for(&schema).expect("a schema")
    }

    #[test]
    fn the_entry_for_imager_fits_its_schema() {
        let found = entry(&example(), "https://example.org/posthouse/").expect("an entry");
        assert!(schema().is_valid(&found), "{found}");
        assert_eq!(found["os_list"][0]["url"], "https://example.org/posthouse/x.img.xz");
        assert_eq!(found["os_list"][0]["release_date"], "2023-11-14");
        for field in
            found["os_list"][0].as_object().expect("an object").keys().filter(|key| *key != "image_download_sha256")
        {
            let mut broken = found.clone();
            broken["os_list"][0].as_object_mut().expect("an object").remove(field);
            assert!(!schema().is_valid(&broken), "the schema does not miss {field}");
        }
    }

    #[test]
    fn only_a_full_address_is_taken() {
        for bad in ["", "dist", "/home/me/dist", "file://dist", "ftp://example.org", "https://example.org/a b"] {
            assert!(entry(&example(), bad).is_err(), "{bad} was taken");
        }
    }
}

//! What the owner of a box wants of its server: the file that the box's provisioning has made of what stands on the card.
//!
//! Read once at the start. It never keeps the server from starting: a box that cannot be reached can't be mended.

use std::path::Path;

use posthouse_protocol::appliance::Settings;

/// What the file says; the defaults where there is none, or where it can't be used.
pub fn read(file: Option<&Path>) -> Settings {
    let Some(file) = file else { return Settings::default() };
    let read = std::fs::read(file);
    // A box that nobody has provisioned.
    if read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Settings::default();
    }
    let parsed = read.map_err(|error| error.to_string());
    let parsed = parsed.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    parsed.unwrap_or_else(|reason| {
        tracing::warn!(%reason, file = %file.display(), "the box's settings can't be read: defaults are used");
        let problem = format!("The box's settings could not be read, so defaults are used: {reason}");
        Settings { problems: vec![problem], ..Settings::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_a_bad_file_means_defaults_that_say_so() {
        assert_eq!(read(None), Settings::default());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("settings.json");
        assert_eq!(read(Some(&file)), Settings::default(), "it is not there");
        std::fs::write(&file, r#"{"host_name": "teahouse", "names": ["chat.example.org"], "later": 1}"#)
            .expect("written");
        let settings = read(Some(&file));
        assert_eq!(settings.host_name.as_deref(), Some("teahouse"));
        assert_eq!(settings.names, ["chat.example.org"]);
        for bad in ["", "7", r#"{"names": 7}"#] {
            std::fs::write(&file, bad).expect("written");
            assert_eq!(read(Some(&file)).problems.len(), 1, "{bad}");
        }
    }
}

//! Bundles on sticks and cards, offered to an inbox.

use std::os::unix::fs::symlink;

use posthouse_updater::Version;

use super::*;

/// A bundle of this seq; nobody has signed it, which is not this program's business.
fn bundle(seq: u64) -> Vec<u8> {
    let version = Version::try_from(format!("0.{seq}.0")).expect("a version");
    let release = Release { arch: "aarch64".to_owned(), ..Release::of(version, seq, 20_000, b"binary", b"binary") };
    Bundle::file(Vec::new(), &release, b"binary", &[]).expect("a bundle")
}

struct Place {
    folder: tempfile::TempDir,
    options: Options,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("stick")).expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let options =
            Options { inbox: at("inbox"), mark: at("mark"), by: "USB stick".to_owned(), folder: Some(at("stick")) };
        Self { folder, options }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join("stick").join(name), bytes).expect("written");
    }

    fn inbox(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.options.inbox).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn request(&self) -> UpdateRequest {
        let text = fs::read(self.options.inbox.join(REQUEST)).expect("a request");
        serde_json::from_slice(&text).expect("a request")
    }
}

#[test]
fn the_newest_bundle_is_laid_in_under_its_hash_and_asked_for_once() {
    let place = Place::new();
    for (name, seq) in [("old.phb", 1), ("NEW.PHB", 3), ("middle.phb", 2)] {
        place.put(name, &bundle(seq));
    }
    run(&place.options).expect("offered");
    let hash = Sha256::of(&bundle(3)).to_string();
    assert_eq!(place.inbox(), [format!("{hash}.phb"), REQUEST.to_owned()]);
    assert_eq!(fs::read(place.options.inbox.join(format!("{hash}.phb"))).expect("the copy"), bundle(3));
    assert_eq!(place.request(), UpdateRequest::Install { bundle: hash, by: "USB stick".to_owned() });
    fs::remove_file(place.options.inbox.join(REQUEST)).expect("the updater takes it");
    run(&place.options).expect("nothing to do");
    assert!(!place.options.inbox.join(REQUEST).exists(), "a file that stays came again");
    place.put("newer.phb", &bundle(4));
    run(&place.options).expect("offered");
    assert!(place.options.inbox.join(REQUEST).exists());
}

#[test]
fn what_is_no_bundle_is_passed_over() {
    let place = Place::new();
    place.put("garbage.phb", b"garbage");
    place.put("empty.phb", b"");
    place.put("._hidden.phb", &bundle(9));
    place.put("notes.txt", &bundle(9));
    let stick = place.folder.path().join("stick");
    symlink("/etc/passwd", stick.join("link.phb")).expect("a link");
    fs::create_dir(stick.join("folder.phb")).expect("a folder");
    nix::unistd::mkfifo(&stick.join("pipe.phb"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    run(&place.options).expect("nothing to do");
    assert!(place.inbox().is_empty() && !place.options.mark.exists());
    place.put("good.phb", &bundle(1));
    run(&place.options).expect("offered");
    assert_eq!(place.inbox().len(), 2);
}

#[test]
fn one_that_is_being_looked_at_is_not_disturbed() {
    let place = Place::new();
    fs::create_dir(&place.options.inbox).expect("a folder");
    fs::write(place.options.inbox.join(REQUEST), "somebody's").expect("written");
    place.put("new.phb", &bundle(1));
    let error = run(&place.options).expect_err("later");
    assert!(format!("{error:#}").contains("new.phb: another update is being looked at"), "{error:#}");
    assert_eq!((place.inbox(), place.options.mark.exists()), (vec![REQUEST.to_owned()], false));
    let endless = File::create(place.folder.path().join("stick/new.phb")).expect("a file");
    (&endless).write_all(&bundle(1)).and_then(|()| endless.set_len(LEN_MAX + 1)).expect("made longer");
    let error = run(&place.options).expect_err("too long");
    assert!(format!("{error:#}").contains("longer than any update"), "{error:#}");
}

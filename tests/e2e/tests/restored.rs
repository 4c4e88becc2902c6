//! A copy of the store in the place of a later one: clients that have seen more than it has are told to begin anew, also once
//! it has grown past where they stand.

use std::path::Path;

use posthouse_client::Client;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{Connect, ConnectParams, ConnectResult, Resume};

/// How a copy is put back.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The database and its log, over those that are there.
    Store,
    /// All that is in the folder, over what is there.
    FolderOver,
    /// The folder, in the place of the one that was there.
    FolderAnew,
}

/// How the server ended before it was copied.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Stopped,
    Killed,
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_seen_more_than_a_restored_copy_has_is_told_also_when_it_has_grown_past_that() {
    for (way, ending) in
        [(Way::Store, Ending::Killed), (Way::FolderOver, Ending::Stopped), (Way::FolderAnew, Ending::Killed)]
    {
        restored(way, ending).await;
    }
}

async fn restored(way: Way, ending: Ending) {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    anna.send(notes, "in the copy").await;
    match ending {
        Ending::Stopped => drop(tokio::task::spawn_blocking(move || server.stop()).await.expect("the end")),
        Ending::Killed => server.kill(),
    }
    let copy = site.path("copy");
    std::fs::create_dir(&copy).expect("a folder");
    copy_files(&site.data_dir(), &copy);

    let server = site.start();
    let again = Device::connect(&server.url(), anna.token.clone()).await;
    for number in 0..3 {
        again.send(notes, &format!("lost {number}")).await;
    }
    let seen = connect(&server.url(), &anna, None).await;
    let resume = Resume { epoch: seen.epoch, cursor: seen.cursor };
    server.kill();

    match way {
        Way::Store => site.store().iter().for_each(|file| {
            std::fs::copy(copy.join(file.file_name().expect("a name")), file).expect("copied");
        }),
        Way::FolderOver => copy_files(&copy, &site.data_dir()),
        Way::FolderAnew => {
            std::fs::remove_dir_all(site.data_dir()).expect("removed");
            std::fs::create_dir(site.data_dir()).expect("a folder");
            copy_files(&copy, &site.data_dir());
        }
    }
    let server = site.start();
    let restored = Device::connect(&server.url(), anna.token.clone()).await;
    for number in 0..9 {
        restored.send(notes, &format!("other {number}")).await;
    }
    let now = connect(&server.url(), &anna, Some(resume.clone())).await;
    let number = |cursor: &posthouse_protocol::Cursor| cursor.0.parse::<u64>().expect("a number");
    assert!(number(&now.cursor) > number(&resume.cursor), "it has grown past what was seen");
    assert!(!now.resumed, "{way:?}, {ending:?}: there would be a hole");
    assert_ne!(now.epoch, resume.epoch, "{way:?}, {ending:?}");
    let texts: Vec<_> = restored.history(notes).await.iter().map(|message| message.text().map(str::to_owned)).collect();
    assert!(texts.contains(&Some("in the copy".to_owned())) && texts.len() == 10, "{texts:?}");

    // It stays what it is from here on.
    server.kill();
    let server = site.start();
    let resume = Resume { epoch: now.epoch, cursor: now.cursor };
    assert!(connect(&server.url(), &anna, Some(resume)).await.resumed, "{way:?}, {ending:?}");
    server.assert_undisturbed();
}

async fn connect(url: &posthouse_client::ServerUrl, device: &Device, resume: Option<Resume>) -> ConnectResult {
    let (client, _events) = Client::open(url).await.expect("the server answers");
    let params = ConnectParams { token: Some(device.token.clone()), resume };
    within("answer to connect", client.call::<Connect>(&params)).await.expect("the token is valid")
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("its kind").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

//! A server at work: people log in, write and read at once, until the box has seen each kind of its server's threads at it.

use std::time::Duration;

use posthouse_client::ServerUrl;
use posthouse_protocol::Token;
use tokio::task::JoinSet;

use crate::chat::{Device, Person};
use crate::machine::Machine;
use crate::selftest::Selftest;
use crate::tuning;

/// A log-in takes an emulated box a second or two; a dozen of them are seen.
const LIMIT: Duration = Duration::from_secs(180);

/// Between two messages, and between two pages: real-time threads that are never without work leave an emulated box no core for
/// the others, which are to be seen too.
const PAUSE: Duration = Duration::from_millis(50);

/// Asserts how the threads are scheduled while `writer` and `reader` do theirs. The box has to have been asked for it.
pub async fn assert_threads(
    machine: &mut Machine,
    server: &ServerUrl,
    token: &Token,
    person: &Person,
) -> anyhow::Result<()> {
    // What it holds ends with it.
    let mut people = JoinSet::new();
    people.spawn(write(server.clone(), token.clone(), person.name));
    people.spawn(read(server.clone(), token.clone(), person.name));
    people.spawn(log_in(server.clone(), Person { name: person.name, password: person.password.clone() }));
    let seen = |console: &str| Selftest::read(console).filter(tuning::has_seen_all_at_work);
    let watched = machine.wait_for("all kinds of threads at work", LIMIT, async |console| seen(console));
    let report = tokio::select! {
        report = watched => report,
        Some(ended) = people.join_next() => Err(ended?.err().unwrap_or_else(|| anyhow::anyhow!("the work ended"))),
    };
    // What was seen until then says which thread is missing, or which is wrong.
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(error.context(format!("{:?}", Selftest::read(&machine.console()).map(|it| it.load)))),
    };
    tuning::assert_threads_at_work(&report)?;
    println!("test-image: at work, each thread is scheduled as it should be: {}", report.load.len());
    Ok(())
}

async fn write(server: ServerUrl, token: Token, to: &'static str) -> anyhow::Result<()> {
    let device = Device::come_back(&server, token).await?;
    loop {
        device.send(to, "Work.").await?;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(server: ServerUrl, token: Token, with_whom: &'static str) -> anyhow::Result<()> {
    let device = Device::come_back(&server, token).await?;
    loop {
        device.last_page(with_whom).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn log_in(server: ServerUrl, person: Person) -> anyhow::Result<()> {
    loop {
        Device::log_in(&server, &person).await?;
    }
}

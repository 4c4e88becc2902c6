//! A group: one member writes, all others get it; the next message is sent when the last was acknowledged and has
//! arrived everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use posthouse_protocol::{
    ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsCreate, ConversationsCreateParams,
    ConversationsGet, ConversationsGetParams, Title, Username, limits,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::awake::Awake;
use crate::bench::{Bench, Target};
use crate::check::{self, Sent};
use crate::dialect::{Dialect, Person};
use crate::figure::Figure;
use crate::fleet::{self, OPENED_AT_ONCE};
use crate::line::Line;

/// Names of the figures for each size of [`crate::plan::Plan::group_sizes`].
const NAMES: [[&str; 2]; 2] =
    [["fan_out_100_cpu", "fan_out_100_cpu_multiple"], ["fan_out_1000_cpu", "fan_out_1000_cpu_multiple"]];

/// The relay's group.
const GROUP: u64 = 1;

/// A message that has not arrived everywhere by then is lost.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// CPU for each delivery to a member.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (names, size) in NAMES.into_iter().zip(bench.plan.group_sizes) {
        let mut rounds = Vec::new();
        for _ in 0..bench.plan.rounds {
            rounds.push((round(bench, Dialect::Relay, size).await?, round(bench, Dialect::Server, size).await?));
        }
        figures.extend(Figure::with_relay(names, "µs/delivery", &rounds));
    }
    Ok(figures)
}

/// What the receiving members have told the sender.
#[derive(Default)]
struct Group {
    arrived: AtomicU64,
    /// Everybody has what was sent last.
    complete: Notify,
    members: u64,
    stop: AtomicBool,
}

/// Microseconds of CPU for each delivery.
async fn round(bench: &Bench, dialect: Dialect, size: usize) -> anyhow::Result<f64> {
    let target = bench.start(dialect).await?;
    let people = &target.site.content.people[..size];
    let mut lines = fleet::open(&target, people, OPENED_AT_ONCE).await?;
    let (to, before) = match dialect {
        Dialect::Server => make_group(&mut lines[0], people).await?,
        Dialect::Relay => (join(&mut lines).await?, 0),
    };
    let members = u64::try_from(size)? - 1;
    let group = Arc::new(Group { members, ..Group::default() });
    let mut lines = lines.into_iter();
    let sender = lines.next().expect("a group has members");
    let mut tasks = JoinSet::new();
    for line in lines {
        tasks.spawn(receive(line, dialect, before, Arc::clone(&group)));
    }
    let writing = tokio::spawn(write(sender, dialect, to, Arc::clone(&group)));
    let cpu_us = measure(bench, &target, &group).await;
    group.stop.store(true, Ordering::Relaxed);
    let sent = writing.await??;
    tasks.abort_all();
    while let Some(receiver) = tasks.join_next().await {
        if let Ok(Err(error)) = receiver {
            return Err(error);
        }
    }
    if dialect == Dialect::Server {
        let Target { process, site } = target;
        let reader = site.content.people[size - 1].clone();
        let sent = Sent { reader, conversation: to, before, numbers: (1..=sent).collect() };
        check::kill_and_read_back(process, &site, &bench.cores.all, &[sent]).await?;
    }
    cpu_us
}

async fn measure(bench: &Bench, target: &Target, group: &Group) -> anyhow::Result<f64> {
    let _awake = Awake::begin();
    tokio::time::sleep(bench.plan.warm_up).await;
    let (before, arrived) = (target.process.usage()?, group.arrived.load(Ordering::Relaxed));
    tokio::time::sleep(bench.plan.closed_loop).await;
    let (after, arrived) = (target.process.usage()?, group.arrived.load(Ordering::Relaxed) - arrived);
    ensure!(arrived > 0, "nothing was delivered");
    Ok((after.cpu - before.cpu).as_secs_f64() * 1e6 / arrived as f64)
}

/// Gives the group, and the seq of the last message in it before anybody has written.
async fn make_group(owner: &mut Line, people: &[Person]) -> anyhow::Result<(u64, u64)> {
    let title = Title::new("Fan-out")?;
    let create = ConversationsCreateParams {
        title,
        members: Vec::new(),
        announcement_only: None,
        history: None,
        client_msg_id: None,
    };
    let conversation_id = owner.call::<ConversationsCreate>(&create).await?.conversation_id;
    for chunk in people[1..].chunks(limits::MEMBERS_CHANGE_MAX) {
        let members: Result<Vec<Username>, _> = chunk.iter().map(|person| Username::new(&person.username)).collect();
        let add = ConversationsAddParams { conversation_id, members: members? };
        ensure!(owner.call::<ConversationsAdd>(&add).await?.added.len() == chunk.len(), "all of them are new");
    }
    let ConversationId(to) = conversation_id;
    let made = owner.call::<ConversationsGet>(&ConversationsGetParams { conversation_id }).await?;
    Ok((to, made.last_seq.0))
}

async fn join(lines: &mut [Line]) -> anyhow::Result<u64> {
    for line in lines {
        line.send(format!("join {GROUP}").into()).await?;
        line.answered(0).await?;
    }
    Ok(GROUP)
}

/// Gives how many messages were sent.
async fn write(mut line: Line, dialect: Dialect, to: u64, group: Arc<Group>) -> anyhow::Result<u64> {
    let mut number = 0;
    while !group.stop.load(Ordering::Relaxed) {
        number += 1;
        let message = match dialect {
            Dialect::Server => dialect.message(number, to, number),
            Dialect::Relay => Dialect::cast(number, to, number),
        };
        line.send(message).await?;
        line.answered(number).await?;
        let all = tokio::time::timeout(ARRIVAL_TIMEOUT, group.complete.notified()).await;
        let arrived = group.arrived.load(Ordering::Relaxed);
        ensure!(all.is_ok(), "message {number} did not arrive everywhere: {arrived} deliveries");
    }
    Ok(number)
}

/// Counts what comes, in its order and without a gap.
async fn receive(mut line: Line, dialect: Dialect, before: u64, group: Arc<Group>) -> anyhow::Result<()> {
    for number in 1.. {
        let seq = line.message(number).await?;
        ensure!(dialect == Dialect::Relay || seq == before + number, "message {number} has seq {seq}");
        if group.arrived.fetch_add(1, Ordering::Relaxed) + 1 == number * group.members {
            group.complete.notify_one();
        }
    }
    Ok(())
}

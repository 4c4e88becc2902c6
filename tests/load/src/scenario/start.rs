//! A start on a large store after a kill: until the first log-in by token is answered.

use std::time::Instant;

use crate::bench::Bench;
use crate::check::{self, Sent};
use crate::dialect::Dialect;
use crate::figure::Figure;
use crate::fill;
use crate::line::Line;
use crate::process::Process;

/// Messages a conversation gets before each kill, so that the log has something to replay.
const BEFORE_KILL: u64 = 5;

/// Conversations that are read back at the end.
const READ_BACK: usize = 50;

/// Seconds from the start of the process to the first answer.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let plan = &bench.plan;
    let site = bench.stock.messages(plan.people, plan.conversations, plan.stored_for_start).await?;
    let conversations = usize::try_from(plan.conversations)?;
    let mut server = Process::server(&site.data_dir(), &bench.cores.server)?;
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        fill::messages(&server, &site.content, conversations, BEFORE_KILL).await?;
        server.kill()?;
        let began = Instant::now();
        server = Process::server(&site.data_dir(), &bench.cores.server)?;
        Line::open(server.address(), Dialect::Server, &site.content.people[0]).await?;
        times.push(began.elapsed().as_secs_f64());
        memory.push(server.usage()?.resident as f64 / 1024.0 / 1024.0);
    }
    let people = site.content.people.iter().step_by(2).zip(&site.content.conversations).take(READ_BACK);
    let sent: Vec<Sent> = people
        .map(|(reader, conversation)| {
            let (reader, conversation, before) = (reader.clone(), *conversation, site.content.messages);
            let numbers = std::iter::repeat_n(1..=BEFORE_KILL, plan.rounds).flatten().collect();
            Sent { reader, conversation, before, numbers }
        })
        .collect();
    check::kill_and_read_back(server, &site, &bench.cores.all, &sent).await?;
    let size = std::fs::metadata(site.data_dir().join("posthouse.redb"))?.len();
    Ok(vec![
        Figure::new("start_after_kill", "s", times),
        Figure::new("start_memory", "MiB", memory),
        Figure::new("stored_size", "MiB", vec![size as f64 / 1024.0 / 1024.0]),
    ])
}

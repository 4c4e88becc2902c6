//! Following an update until its verdict, over the restarts that belong to it.

use std::time::Duration;

use anyhow::bail;
use posthouse_client::{ClientError, Updates};
use posthouse_protocol::update::{UpdateOutcome, UpdateProgress, UpdateStatus, UpdateStep};
use tokio::time::Instant;

use super::explained;
use super::shown::plain;

/// So often the server is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// So long it may be away: a version that fails is given up in less.
const AWAY_MAX: Duration = Duration::from_secs(180);

/// So long nothing at all may seem to happen.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// What it came to: what was wanted, or why not. For people.
pub type Verdict = Result<String, String>;

/// Asks until there is a verdict, and says meanwhile on standard error how it goes.
pub async fn follow(
    updates: &Updates,
    before: &UpdateStatus,
    begun: &UpdateStatus,
) -> anyhow::Result<(Verdict, UpdateStatus)> {
    let (mut said, mut answered, mut moved) = (String::new(), Instant::now(), Instant::now());
    loop {
        let line = match updates.status().await {
            Ok(now) => {
                answered = Instant::now();
                if let Some(verdict) = verdict(before, begun, &now) {
                    return Ok((verdict, now));
                }
                now.progress.map(|progress| step(&progress, &now)).unwrap_or_default()
            }
            Err(error @ (ClientError::Unreachable { .. } | ClientError::Disconnected(_))) => {
                if answered.elapsed() > AWAY_MAX {
                    return Err(error.into());
                }
                "The server restarts.".to_owned()
            }
            // It is stopping, or too busy: it will say more.
            Err(ClientError::Refused(error)) if error.retryable => String::new(),
            Err(error) => return Err(explained(error)),
        };
        if !line.is_empty() && line != said {
            eprintln!("{line}");
            (said, moved) = (line, Instant::now());
        }
        if moved.elapsed() > SILENCE_MAX {
            bail!("nothing has happened for {} s: see `posthouse update status`", SILENCE_MAX.as_secs());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn step(progress: &UpdateProgress, now: &UpdateStatus) -> String {
    let percent = progress.done.saturating_mul(100).checked_div(progress.total).unwrap_or_default();
    match progress.what {
        UpdateStep::Downloading => format!("The server downloads it: {percent} %"),
        UpdateStep::Uploading => format!("Somebody brings a bundle: {percent} %"),
        UpdateStep::Verifying => "The server's updater looks at it.".to_owned(),
        UpdateStep::Trying => {
            let version = now.state.trial.as_ref().map(|trial| trial.slot.version.as_str()).unwrap_or_default();
            format!("Version {} is being tried. This takes about a minute.", plain(version))
        }
    }
}

/// What has come of it since, if that is known. A problem that was there when it began is none of its own.
fn verdict(before: &UpdateStatus, begun: &UpdateStatus, now: &UpdateStatus) -> Option<Verdict> {
    if now.progress.is_some() {
        return None;
    }
    let of = |version: &Option<String>| plain(version.as_deref().unwrap_or("?"));
    if let Some(refused) = now.state.refused.as_ref().filter(|_| now.state.refused != before.state.refused) {
        return Some(Err(format!("it was refused: {}", plain(&refused.reason))));
    }
    let current = &now.state.current;
    if let Some(last) = now.state.last.as_ref().filter(|_| now.state.last != before.state.last) {
        let reason = last.reason.as_deref().map(plain).unwrap_or_default();
        return Some(match last.outcome {
            UpdateOutcome::Confirmed => Ok(format!("Version {} runs, and has proved itself.", of(&last.version))),
            UpdateOutcome::WentBack => Ok(format!("Version {} runs again.", plain(&current.version))),
            UpdateOutcome::RolledBack => Err(format!(
                "version {} was given up, and version {} runs as before: {reason}",
                of(&last.version),
                plain(&current.version)
            )),
        });
    }
    if current.sha256 != before.state.current.sha256 {
        return Some(Ok(format!("Version {} runs.", plain(&current.version))));
    }
    now.problem.as_ref().filter(|_| now.problem != begun.problem).map(|problem| Err(plain(problem)))
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::update::{UpdateRefusal, UpdateState, UpdateVerdict};

    use super::*;

    fn at(state: UpdateState) -> UpdateStatus {
        UpdateStatus { state, ..UpdateStatus::default() }
    }

    fn ended(outcome: UpdateOutcome, at_ms: u64) -> UpdateState {
        let reason = Some("it refused log-ins".to_owned());
        let last = UpdateVerdict { outcome, version: Some("2".to_owned()), reason, at_ms: Some(at_ms) };
        UpdateState { last: Some(last), ..UpdateState::default() }
    }

    #[test]
    fn only_what_happened_since_is_a_verdict() {
        use UpdateOutcome::{Confirmed, RolledBack, WentBack};
        let before = at(ended(Confirmed, 1));
        assert_eq!(verdict(&before, &before, &before), None);
        let said = |now: UpdateState| verdict(&before, &before, &at(now)).expect("a verdict");
        assert_eq!(said(ended(Confirmed, 2)), Ok("Version 2 runs, and has proved itself.".to_owned()));
        assert!(said(ended(WentBack, 2)).is_ok());
        let line = said(ended(RolledBack, 2)).expect_err("given up");
        assert!(line.starts_with("version 2 was given up") && line.ends_with("it refused log-ins"), "{line}");
        let refused = Some(UpdateRefusal { reason: "too old".to_owned(), ..UpdateRefusal::default() });
        assert_eq!(said(UpdateState { refused, ..ended(Confirmed, 1) }), Err("it was refused: too old".to_owned()));
        let broken = UpdateStatus { problem: Some("no room".to_owned()), ..before.clone() };
        assert_eq!(verdict(&before, &before, &broken), Some(Err("no room".to_owned())));
        let trying = UpdateProgress { what: UpdateStep::Trying, done: 0, total: 0 };
        let trying = UpdateStatus { progress: Some(trying), ..at(ended(Confirmed, 2)) };
        assert_eq!(verdict(&broken, &broken, &broken), None, "an old story");
        assert_eq!(verdict(&before, &before, &trying), None, "not before it has proved itself");
    }
}

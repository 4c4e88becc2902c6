//! Where log lines go: to the journal with its fields when systemd started this process, else to
//! standard error. Messages' texts, passwords and tokens are never logged.

use std::path::PathBuf;
use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::panics;

static DATABASE: OnceLock<PathBuf> = OnceLock::new();

/// Sets up logging for the process; levels by `RUST_LOG` (as `info` or `posthouse_server=debug`), `info`
/// without it. Says how to go on when a broken invariant stops the process.
pub fn start() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let (targets, bad) = match wanted.parse::<Targets>() {
        Ok(targets) => (targets, None),
        Err(error) => (Targets::new().with_default(tracing::Level::INFO), Some(error)),
    };
    let registry = tracing_subscriber::registry().with(targets);
    #[cfg(feature = "systemd")]
    let registry = registry.with(journal::layer());
    // `JOURNAL_STREAM` is set by systemd when standard error is the journal.
    let to_journal = cfg!(feature = "systemd") && std::env::var_os("JOURNAL_STREAM").is_some();
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let stderr = (!to_journal)
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false));
    registry.with(stderr).init();
    if let Some(error) = bad {
        tracing::warn!(%error, "RUST_LOG was not understood");
    }
    log_panics();
}

/// Lets a panic's message name the database: redb panics on some kinds of damage.
pub fn name_database(file: PathBuf) {
    // Named once; a second server in the same process would be a test's.
    let _ = DATABASE.set(file);
}

fn log_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        panics::hand_over(panic);
        let panicked = panic.to_string().replace('\n', " ");
        let database = DATABASE.get().map_or_else(|| "posthouse.redb".to_owned(), |file| file.display().to_string());
        tracing::error!(
            "a broken invariant stops the server: {panicked}. If that comes back at every start, the database \
             {database} may be damaged: restore a copy of it, or move it away to start with an empty one, in both cases \
             together with its log (posthouse.wal.*)"
        );
        default(panic);
    }));
}

#[cfg(feature = "systemd")]
mod journal {
    //! Log lines as journal entries, each field as a field.

    use std::fmt::Write as _;

    use tracing::field::{Field, Visit};
    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::Context;

    pub struct Journal;

    /// The layer, where standard error is the journal.
    pub fn layer() -> Option<Journal> {
        std::env::var_os("JOURNAL_STREAM").map(|_| Journal)
    }

    impl<S: Subscriber> Layer<S> for Journal {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let mut entry = Entry::default();
            event.record(&mut entry);
            let message = format!("MESSAGE={}{}", entry.message, entry.shown);
            let priority = format!("PRIORITY={}", priority(*event.metadata().level()));
            let mut fields = vec![message.as_str(), priority.as_str(), "SYSLOG_IDENTIFIER=posthoused"];
            fields.extend(entry.fields.iter().map(String::as_str));
            // There is nowhere left to report a failing journal to.
            let _ = systemd::journal::send(&fields);
        }
    }

    /// syslog(3)'s levels.
    fn priority(level: Level) -> u8 {
        match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        }
    }

    #[derive(Default)]
    struct Entry {
        message: String,
        shown: String,
        fields: Vec<String>,
    }

    impl Visit for Entry {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.message = format!("{value:?}");
                return;
            }
            // Writing to a String does not fail.
            let _ = write!(self.shown, " {}={value:?}", field.name());
            self.fields.push(format!("POSTHOUSE_{}={value:?}", field.name().to_uppercase().replace('.', "_")));
        }
    }
}

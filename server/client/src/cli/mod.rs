//! The commands that a person types, and how their results are shown.

mod account;
mod chat;
mod claim;
mod conversation;
mod device;
mod discover;
mod group;
mod listen;
mod messages;
mod once;
mod output;
mod people;
mod provision;
mod release;
#[cfg(unix)]
mod site;
mod spans;
mod target;
mod trust;
mod update;
#[cfg(unix)]
mod user;
mod words;

use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use posthouse_client::discover::PATIENCE;
use posthouse_client::{ServerUrl, Transport};
use posthouse_protocol::Username;

use output::Output;
use target::Target;

pub use chat::logged_out;
pub use spans::{end_of, span};
pub use words::{called, happened, names, said, title};

/// Said at the end of the help.
const EXIT_STATUS: &str = "\
Exit status: 0 done; 1 it could not be done or that is not known, and one line on standard error says why; 2 the command line is wrong.";

/// Chat on your own Posthouse server.
#[derive(Parser)]
#[command(name = "posthouse", version, after_help = EXIT_STATUS)]
struct Arguments {
    /// One JSON object a line instead of text
    #[arg(long, global = true)]
    json: bool,

    /// How to reach the server: websocket, or sse where something on the way refuses WebSockets
    #[arg(long, global = true, value_name = "WAY", env = "POSTHOUSE_TRANSPORT", default_value = "websocket")]
    transport: Transport,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Log in on this device; asks for the password
    Login {
        #[command(flatten)]
        server: trust::Server,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Your user name
        name: Username,
    },
    /// Become the owner of a new box; asks for the code that it shows, a user name and a password
    Claim {
        /// The box's address
        #[arg(long, value_name = "http://HOST:PORT")]
        server: ServerUrl,
        /// The code; without it, it is asked for
        #[arg(long)]
        code: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Your user name; without it, it is asked for
        name: Option<Username>,
    },
    /// Find the boxes on this network
    Discover {
        /// How long to wait for answers, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs(),
              value_parser = clap::value_parser!(u64).range(1..=60))]
        wait: u64,
    },
    /// Send a message; ends when it is safely stored
    Send {
        #[command(flatten)]
        call: messages::Call,
        /// A user name, a group's title, or '#number'
        to: Target,
        /// What; several words become one text
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Change what one of your messages says
    Edit {
        #[command(flatten)]
        which: messages::Which,
        /// What it is to say
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Show all that a message has said, oldest first
    Versions {
        #[command(flatten)]
        which: messages::Which,
    },
    /// Erase one of your messages
    Recall {
        #[command(flatten)]
        which: messages::Which,
    },
    /// Put an emoji under a message
    React {
        #[command(flatten)]
        which: messages::Which,
        /// Which one
        emoji: String,
        /// Take it away instead
        #[arg(long)]
        remove: bool,
    },
    /// Answer a message
    Reply {
        #[command(flatten)]
        call: messages::Call,
        #[command(flatten)]
        which: messages::Which,
        /// What; several words become one text
        #[arg(required = true, num_args = 1..)]
        text: Vec<String>,
    },
    /// Show the latest messages of a conversation
    Read {
        /// A user name, a group's title, or '#number'
        with: Target,
        /// Tell the others that you have read them
        #[arg(long)]
        mark_read: bool,
        /// How many messages
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Chat in this terminal; F1 shows the keys
    Chat {
        /// Whom or what with: a user name, a title, or '#7'
        with: Option<String>,
    },
    /// Show messages as they come, until interrupted; goes on when the server or the network was away. With --json, all else that
    /// happens, too
    Listen {
        /// Also who is there, with --json; you are shown as away meanwhile
        #[arg(long)]
        presence: bool,
    },
    /// List your conversations
    Conversations,
    #[command(flatten)]
    Conversation(conversation::ConversationCommand),
    /// Make groups and look after them
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Look after accounts, your own and, as an administrator, others'
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Let people make their own accounts
    #[command(subcommand)]
    Invite(device::InviteCommand),
    /// List your devices, or sign them out
    Devices {
        #[command(subcommand)]
        command: Option<device::DevicesCommand>,
    },
    /// Sign out this device
    Logout,
    /// Change your password; asks for the old and the new one
    Passwd {
        #[command(flatten)]
        server: Option<trust::Server>,
        /// Read both from standard input, a line each
        #[arg(long)]
        password_stdin: bool,
        /// Your user name, where you are not logged in
        name: Option<Username>,
    },
    /// See which boxes this device knows, and forget one
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Print the completions of a shell: posthouse completions bash > ~/.local/share/bash-completion/completions/posthouse
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Look at the files that set up a new box, before its card goes into it
    #[command(subcommand)]
    Provision(provision::ProvisionCommand),
    /// Update the server, as its owner
    #[command(subcommand)]
    Update(update::UpdateCommand),
    /// Make and sign updates of the server, on the machine of whoever releases them
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Look after accounts, on the server's own machine
    #[cfg(unix)]
    #[command(subcommand)]
    User(user::UserCommand),
    /// Set what holds for the whole site, on the server's own machine
    #[cfg(unix)]
    #[command(subcommand)]
    Site(site::SiteCommand),
}

/// Carries out the command line.
pub fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let output = if arguments.json { Output::Json } else { Output::Text };
    match arguments.command {
        #[cfg(unix)]
        Command::User(command) => user::run(command, output),
        #[cfg(unix)]
        Command::Site(command) => site::run(&command, output),
        Command::Trust(command) => trust::run(&command, output),
        Command::Provision(command) => provision::run(&command, output),
        Command::Release(command) => release::run(command, output),
        Command::Completions { shell } => {
            output::print(&completions(shell));
            Ok(())
        }
        other => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run_connected(other, arguments.transport, output))
        }
    }
}

/// The script that teaches a shell to complete this command.
fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "posthouse", &mut script);
    script
}

async fn run_connected(command: Command, transport: Transport, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Claim { server, code, password_stdin, name } => {
            claim::run(claim::Given { server, code, name, password_stdin }, output).await
        }
        Command::Account(command) => account::run(command, transport, output).await,
        Command::Invite(command) => device::invite(command, transport, output).await,
        Command::Devices { command } => device::devices(command, transport, output).await,
        Command::Conversation(command) => conversation::run(command, transport, output).await,
        Command::Discover { wait } => discover::run(Duration::from_secs(wait), output).await,
        Command::Logout => device::log_out(transport, output).await,
        Command::Update(command) => update::run(command, output).await,
        Command::Passwd { server, password_stdin, name } => {
            device::change_password(server, name, password_stdin, transport, output).await
        }
        other => chat::run(other, transport, output).await,
    }
}

/// A password from standard input, or asked for at the terminal without showing it.
fn password(prompt: &str, from_stdin: bool) -> anyhow::Result<String> {
    if !from_stdin {
        return rpassword::prompt_password(prompt)
            .context("cannot ask for the password at a terminal (--password-stdin reads it from standard input)");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

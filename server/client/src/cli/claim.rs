//! `posthouse claim`: makes whoever types a new box's code its owner.

use std::io::Write;

use anyhow::{Context, bail};
use posthouse_client::claim::Claiming;
use posthouse_client::{KnownServers, Login, ServerUrl};
use posthouse_protocol::{Password, Username, limits};

use super::chat::device_name;
use super::output::Output;
use super::password;

/// What was given on the command line; the rest is asked for.
pub struct Given {
    pub server: ServerUrl,
    pub code: Option<String>,
    pub name: Option<Username>,
    pub password_stdin: bool,
}

pub async fn run(given: Given, output: Output) -> anyhow::Result<()> {
    let Given { server, code, name, password_stdin } = given;
    let code = match code {
        Some(code) => code,
        None => asked("Code of the box: ")?,
    };
    let mut known = KnownServers::load()?;
    let claiming = Claiming::begin(&known.attach(server.clone()), &code)
        .await
        .with_context(|| format!("the box at {server} was not claimed"))?;
    let username = match name {
        Some(name) => name,
        None => asked("Your user name: ")?.parse()?,
    };
    let new = password("A password: ", password_stdin)?;
    if new.chars().count() < limits::PASSWORD_CHARS_MIN {
        bail!("the password needs {} characters or more", limits::PASSWORD_CHARS_MIN);
    }
    if !password_stdin && password("The same again: ", false)? != new {
        bail!("the two passwords are not the same");
    }
    let server = claiming.server().clone();
    if let Some(fingerprint) = server.pin() {
        known.pin(&server, fingerprint)?;
    }
    let claimed = claiming.finish(username.clone(), Password(new), device_name()).await;
    let claimed = claimed.with_context(|| format!("the box at {server} was not claimed"))?;
    // The sheet first: it comes only once.
    output.sheet(&claimed.account, &claimed.sheet);
    Ok(Login { server, username, token: claimed.token }.save()?)
}

/// A line that is typed.
fn asked(prompt: &str) -> anyhow::Result<String> {
    let mut terminal = std::io::stderr();
    terminal.write_all(prompt.as_bytes()).and_then(|()| terminal.flush())?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let line = line.trim();
    if line.is_empty() {
        bail!("nothing was typed");
    }
    Ok(line.to_owned())
}

//! Commands for the machine's administrator, through the server's local socket.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use posthouse_client::ClientError;
use posthouse_client::admin::{Admin, SOCKET};
use posthouse_protocol::admin::{AccountAddParams, GroupEverybodyResult};
use posthouse_protocol::{Account, ErrorCode, Username};
use serde_json::json;

use super::account::Role;
use super::output::{Output, print_json, say};
use super::password;

#[derive(Subcommand)]
pub enum UserCommand {
    /// Make an account, with a made-up password that is printed
    Add {
        #[command(flatten)]
        socket: Socket,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
        /// What it may do [default: owner for the first account, member for others]
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// The user name
        name: Username,
    },
    /// Make accounts from a file of NAME:PASSWORD, one a line or separated by commas; existing ones stay
    Import {
        #[command(flatten)]
        socket: Socket,
        /// The file
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct Socket {
    /// The server's administration socket
    #[arg(long, value_name = "PATH", env = "POSTHOUSE_ADMIN_SOCKET", default_value = SOCKET)]
    admin_socket: PathBuf,
}

impl Socket {
    pub fn open(&self) -> Result<Admin, ClientError> {
        Admin::open(&self.admin_socket)
    }
}

pub fn run(command: UserCommand, output: Output) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { socket, password_stdin, role, name } => {
            let password = if password_stdin { Some(password("Password: ", true)?) } else { None };
            add(&socket, name, password, role, output)
        }
        UserCommand::Import { socket, file } => import(&socket, &file, output),
    }
}

fn add(
    socket: &Socket,
    username: Username,
    password: Option<String>,
    role: Option<Role>,
    output: Output,
) -> anyhow::Result<()> {
    let made_up = if password.is_none() { Some(make_up_password()) } else { None };
    let password = password.or_else(|| made_up.clone()).expect("one of the two is there");
    let params = AccountAddParams { username, password, role: role.map(Into::into) };
    let account = socket.open()?.add_account(&params)?;
    output.account(&account, made_up.as_deref());
    Ok(())
}

fn import(socket: &Socket, file: &std::path::Path, output: Output) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let accounts = parse_accounts(&text)?;
    let mut admin = socket.open()?;
    let (mut made, mut kept) = (0, 0);
    for params in &accounts {
        match admin.add_account(params) {
            Ok(_) => made += 1,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::AlreadyExists => kept += 1,
            Err(error) => return Err(error).with_context(|| format!("account {}", params.username)),
        }
    }
    output.imported(made, kept);
    Ok(())
}

/// Reads the whole file before the first account is made. Errors name the entry's number and never its
/// password.
fn parse_accounts(text: &str) -> anyhow::Result<Vec<AccountAddParams>> {
    let entries = text.split(['\n', ',']).map(str::trim).filter(|entry| !entry.is_empty());
    let parse = |(index, entry): (usize, &str)| {
        let number = index + 1;
        let Some((name, password)) = entry.split_once(':') else {
            bail!("entry {number}: NAME:PASSWORD was expected");
        };
        let username = Username::new(name).with_context(|| format!("entry {number}"))?;
        Ok(AccountAddParams { username, password: password.to_owned(), role: None })
    };
    entries.enumerate().map(parse).collect()
}

/// 80 random bits in letters and digits that can't be mistaken for each other, in groups for reading out.
fn make_up_password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has random numbers");
    let characters: Vec<char> = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

impl Output {
    fn account(self, account: &Account, made_up_password: Option<&str>) {
        match (self, made_up_password) {
            (Self::Text, None) => say(&format!("Account {} made.", account.username)),
            (Self::Text, Some(password)) => say(&format!("Account {} made. Password: {password}", account.username)),
            (Self::Json, password) => {
                let account_id = account.account_id;
                say(&json!({ "account_id": account_id, "username": account.username, "password": password })
                    .to_string());
            }
        }
    }

    pub fn everybody(self, result: &GroupEverybodyResult) {
        match self {
            Self::Text => {
                say(&format!("Everybody is in group #{}, {} of them anew.", result.conversation_id, result.added));
            }
            Self::Json => print_json(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_lists_may_use_lines_or_commas() {
        let accounts = parse_accounts("anna:a:b\nben: pass word ,\r\n王小明:密码密码密码密码\r\n").expect("a list");
        let shown: Vec<_> = accounts.iter().map(|a| (a.username.as_str(), a.password.as_str())).collect();
        assert_eq!(shown, [("anna", "a:b"), ("ben", " pass word"), ("王小明", "密码密码密码密码")]);
    }

    #[test]
    fn a_bad_entry_is_named_by_its_number_without_its_password() {
        let error = parse_accounts("anna:secret1\n:secret2").expect_err("no name");
        assert_eq!(format!("{error:#}"), "entry 2: a user name must not be empty");
        let error = parse_accounts("anna").expect_err("no password");
        assert_eq!(format!("{error:#}"), "entry 1: NAME:PASSWORD was expected");
    }

    #[test]
    fn made_up_passwords_differ_and_are_long_enough() {
        let (one, two) = (make_up_password(), make_up_password());
        assert_ne!(one, two);
        assert_eq!(one.len(), 19, "{one}");
    }
}

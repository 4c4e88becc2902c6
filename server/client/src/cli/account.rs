//! Commands that look after accounts, one's own and others'.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use posthouse_client::{Client, TablePart, Transport, read_table};
use posthouse_protocol::{
    AccountId, AccountParams, AccountRole, AccountsCreate, AccountsCreateParams, AccountsDepart, AccountsDevices,
    AccountsDisable, AccountsEnable, AccountsGet, AccountsGetParams, AccountsImport, AccountsImportParams,
    AccountsImportResult, AccountsMe, AccountsReset, AccountsResetParams, AccountsRole, AccountsRoleParams,
    AccountsSearch, AccountsSearchParams, AccountsSignOut, AccountsUpdate, AccountsUpdateParams, DisplayName, Empty,
    ImportError, Method, Password, Profile, Username,
};

use super::chat::connect;
use super::output::Output;
use super::password;

#[derive(Subcommand)]
pub enum AccountCommand {
    /// Show your own account
    Me,
    /// Change the name that others see
    Rename {
        /// The new name
        display_name: DisplayName,
    },
    /// Show an account
    Show {
        /// Its user name
        name: Username,
    },
    /// List the accounts whose names begin with a text
    Search {
        /// The text; without it, all accounts
        #[arg(default_value = "")]
        query: String,
    },
    /// Make an account; its password is printed and has to be changed before the first log-in
    Create {
        /// The name that others see
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// What it may do
        #[arg(long, value_enum, default_value_t = Role::Member)]
        role: Role,
        /// Read the password from standard input instead of making one up
        #[arg(long)]
        password_stdin: bool,
        /// The user name
        name: Username,
    },
    /// Sign out all devices of an account and let nobody log in
    Disable {
        /// Whose
        name: Username,
    },
    /// Let somebody log in again
    Enable {
        /// Who
        name: Username,
    },
    /// Give an account another password, which is printed, and sign out all its devices
    Reset {
        /// Read the password from standard input instead of making one up
        #[arg(long)]
        password_stdin: bool,
        /// Whose
        name: Username,
    },
    /// Give an account another role
    Role {
        /// Whose
        name: Username,
        /// What it may do
        #[arg(value_enum)]
        role: Role,
    },
    /// Somebody leaves for good: messages stay, devices are signed out
    Depart {
        /// Who
        name: Username,
    },
    /// List the devices of an account
    Devices {
        /// Whose
        name: Username,
    },
    /// Sign out all devices of an account
    SignOut {
        /// Whose
        name: Username,
    },
    /// Make accounts from a CSV file with the columns username, display_name and password; existing ones stay
    Import {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// The file, in UTF-8 or GB18030
        file: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    /// Everything
    Owner,
    /// Looks after accounts
    Administrator,
    /// Chats
    Member,
}

impl From<Role> for AccountRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Owner => Self::Owner,
            Role::Administrator => Self::Administrator,
            Role::Member => Self::Member,
        }
    }
}

pub async fn run(command: AccountCommand, transport: Transport, output: Output) -> anyhow::Result<()> {
    // What is wrong with a file is said before anything else.
    if let AccountCommand::Import { dry_run, file } = command {
        return import(&file, dry_run, transport, output).await;
    }
    let (client, _events) = connect(transport).await?;
    match command {
        AccountCommand::Me => output.profile(&client.call::<AccountsMe>(&Empty {}).await?),
        AccountCommand::Rename { display_name } => {
            let params = AccountsUpdateParams { display_name: Some(display_name) };
            output.profile(&client.call::<AccountsUpdate>(&params).await?);
        }
        AccountCommand::Show { name } => output.profile(&find(&client, name).await?),
        AccountCommand::Search { query } => search(&client, query, output).await?,
        AccountCommand::Create { display_name, role, password_stdin, name: username } => {
            let (role, password) = (Some(role.into()), given(password_stdin)?);
            let params = AccountsCreateParams { username, display_name, role, password, keep_password: false };
            output.made(&client.call::<AccountsCreate>(&params).await?);
        }
        AccountCommand::Disable { name } => change::<AccountsDisable>(&client, name, output).await?,
        AccountCommand::Enable { name } => change::<AccountsEnable>(&client, name, output).await?,
        AccountCommand::Depart { name } => change::<AccountsDepart>(&client, name, output).await?,
        AccountCommand::Reset { password_stdin, name } => {
            let account_id = find(&client, name).await?.account_id;
            let params = AccountsResetParams { account_id, password: given(password_stdin)? };
            output.made(&client.call::<AccountsReset>(&params).await?);
        }
        AccountCommand::Role { name, role } => {
            let account_id = find(&client, name).await?.account_id;
            let params = AccountsRoleParams { account_id, role: role.into() };
            output.profile(&client.call::<AccountsRole>(&params).await?);
        }
        AccountCommand::Devices { name } => {
            let list = client.call::<AccountsDevices>(&named(&client, name).await?).await?;
            list.devices.iter().for_each(|device| output.device(device));
        }
        AccountCommand::SignOut { name } => {
            client.call::<AccountsSignOut>(&named(&client, name).await?).await?;
            output.done("Signed out.");
        }
        AccountCommand::Import { .. } => unreachable!("it was carried out before"),
    }
    Ok(())
}

fn given(from_stdin: bool) -> anyhow::Result<Option<Password>> {
    Ok(if from_stdin { Some(Password(password("Password: ", true)?)) } else { None })
}

async fn find(client: &Client, username: Username) -> anyhow::Result<Profile> {
    let context = format!("account {username}");
    let params = AccountsGetParams { account_id: None, username: Some(username) };
    client.call::<AccountsGet>(&params).await.context(context)
}

async fn named(client: &Client, username: Username) -> anyhow::Result<AccountParams> {
    let account_id: AccountId = find(client, username).await?.account_id;
    Ok(AccountParams { account_id })
}

async fn change<M>(client: &Client, username: Username, output: Output) -> anyhow::Result<()>
where
    M: Method<Params = AccountParams, Result = Profile>,
{
    let params = named(client, username).await?;
    output.profile(&client.call::<M>(&params).await?);
    Ok(())
}

async fn search(client: &Client, query: String, output: Output) -> anyhow::Result<()> {
    let mut params = AccountsSearchParams { query, after: None, limit: None };
    loop {
        let page = client.call::<AccountsSearch>(&params).await?;
        page.accounts.iter().for_each(|account| output.profile(account));
        if page.next.is_none() {
            return Ok(());
        }
        params.after = page.next;
    }
}

/// Looks at the whole file first, so that an error in its last row is found before the first account is made. The server compares
/// a row with those of its part alone: a user name that stands in an earlier part is found here.
async fn import(file: &Path, dry_run: bool, transport: Transport, output: Output) -> anyhow::Result<()> {
    let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parts = read_table(&content).with_context(|| format!("cannot use {}", file.display()))?;
    let (client, _events) = connect(transport).await?;
    let (mut new, mut unchanged, mut errors, mut seen) = (0, 0, 0, HashSet::new());
    for part in &parts {
        let mut found = import_part(&client, part, true).await?;
        add_repeated(&mut found.errors, part, &mut seen);
        found.errors.iter().for_each(|error| output.import_error(error));
        (new, unchanged, errors) = (new + found.new, unchanged + found.unchanged, errors + found.errors.len());
    }
    if errors > 0 {
        bail!("nothing was imported: {errors} of the rows can't be used");
    }
    if dry_run {
        output.would_import(new, unchanged);
        return Ok(());
    }
    (new, unchanged) = (0, 0);
    for part in &parts {
        let context = || format!("what stands before line {} is imported: run the same again", part.first_line);
        let done = import_part(&client, part, false).await.with_context(context)?;
        done.made.iter().for_each(|made| output.imported_account(made));
        (new, unchanged) = (new + done.new, unchanged + done.unchanged);
    }
    output.imported(new, unchanged);
    Ok(())
}

/// Adds the rows that repeat a user name of an earlier part, in the words of the server.
fn add_repeated(errors: &mut Vec<ImportError>, part: &TablePart, seen: &mut HashSet<Username>) {
    let bad: HashSet<u64> = errors.iter().map(|error| error.line).collect();
    for (line, username) in part.names().into_iter().filter(|(line, _)| !bad.contains(line)) {
        if seen.contains(&username) {
            errors.push(ImportError { line, message: format!("{username} stands in an earlier row") });
        }
        seen.insert(username);
    }
    errors.sort_by_key(|error| error.line);
}

async fn import_part(client: &Client, part: &TablePart, dry_run: bool) -> anyhow::Result<AccountsImportResult> {
    let TablePart { csv, first_line } = part.clone();
    let params = AccountsImportParams { csv, first_line: Some(first_line), dry_run };
    Ok(client.call::<AccountsImport>(&params).await?)
}

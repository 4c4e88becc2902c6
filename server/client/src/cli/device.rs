//! Commands for devices, invites and passwords: who gets in.

use anyhow::{Context, bail};
use clap::Subcommand;
use posthouse_client::view::People;
use posthouse_client::{Client, ClientError, Login, ServerUrl, Transport};
use posthouse_protocol::{
    Connect, ConnectParams, DeviceId, DevicesList, DevicesRevoke, DevicesRevokeParams, DisplayName, Empty, ErrorCode,
    InviteCode, InviteId, InvitesAccept, InvitesAcceptParams, InvitesCreate, InvitesCreateParams, InvitesList,
    InvitesListParams, InvitesRevoke, InvitesRevokeParams, Logout, Password, PasswordChange, PasswordChangeParams,
    Username,
};

use super::chat::{connect, device_name};
use super::output::Output;
use super::password;
use super::people::ask;
use super::trust::Server;

#[derive(Subcommand)]
pub enum DevicesCommand {
    /// Sign out a device
    Revoke {
        /// Its number in the list
        #[arg(required_unless_present = "others")]
        device: Option<u64>,
        /// All but this one
        #[arg(long, conflicts_with = "device")]
        others: bool,
    },
}

#[derive(Subcommand)]
pub enum InviteCommand {
    /// Make an invite; its code is printed
    Create {
        /// How long it can be used, in hours
        #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=2160))]
        hours: u64,
        /// How many accounts it can make
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        uses: u32,
    },
    /// List the invites that can be used
    List,
    /// Make an invite void
    Revoke {
        /// Its number in the list
        invite: u64,
    },
    /// Make your account with an invite, and log in
    Accept {
        #[command(flatten)]
        server: Server,
        /// The name that others see
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// Read the new password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// The code that you were given
        code: String,
        /// Your user name
        name: Username,
    },
}

pub async fn devices(command: Option<DevicesCommand>, transport: Transport, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    match command {
        None => {
            let list = client.call::<DevicesList>(&Empty {}).await?;
            list.devices.iter().for_each(|device| output.device(device));
        }
        Some(DevicesCommand::Revoke { device, others }) => {
            let params = DevicesRevokeParams { device_id: device.map(DeviceId), others };
            client.call::<DevicesRevoke>(&params).await?;
            output.done("Signed out.");
        }
    }
    Ok(())
}

pub async fn invite(command: InviteCommand, transport: Transport, output: Output) -> anyhow::Result<()> {
    if let InviteCommand::Accept { server, display_name, password_stdin, code, name: username } = command {
        let server = server.trusted().await?;
        let password = Password(password("New password: ", password_stdin)?);
        let (code, device) = (InviteCode(code), device_name());
        let params = InvitesAcceptParams { code, username: username.clone(), display_name, password, device };
        let (client, _) = Client::open_by(&server, transport).await?;
        let result = client.call::<InvitesAccept>(&params).await?;
        let login = Login { server, username, token: result.token };
        login.save()?;
        output.logged_in(&login);
        return Ok(());
    }
    let (client, _events) = connect(transport).await?;
    match command {
        InviteCommand::Create { hours, uses } => {
            let params = InvitesCreateParams { expires_in_s: Some(hours * 3600), uses: Some(uses) };
            let made = client.call::<InvitesCreate>(&params).await?;
            output.new_invite(&made, &invite_link(&Login::load()?.server, &made.code));
        }
        InviteCommand::List => {
            let (mut params, mut people) = (InvitesListParams::default(), People::default());
            loop {
                let page = client.call::<InvitesList>(&params).await?;
                ask(&client, &mut people, page.invites.iter().map(|invite| &invite.created_by), output).await;
                page.invites.iter().for_each(|invite| output.invite(invite, &people));
                if page.next.is_none() {
                    break;
                }
                params.after = page.next;
            }
        }
        InviteCommand::Revoke { invite } => {
            client.call::<InvitesRevoke>(&InvitesRevokeParams { invite_id: InviteId(invite) }).await?;
            output.done("Revoked.");
        }
        InviteCommand::Accept { .. } => unreachable!("it was carried out before"),
    }
    Ok(())
}

/// What somebody is sent who is invited: the front door, which leads on to TLS where that is trusted. The code stands where a
/// browser tells it to nobody.
fn invite_link(server: &ServerUrl, code: &InviteCode) -> String {
    let server = server.to_string();
    let front_door = match server.strip_prefix("https://") {
        // At its own port, the front door is at its own, too.
        Some(authority) if authority.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']')) => {
            format!("http://{authority}")
        }
        _ => server,
    };
    format!("{front_door}/#invite={}", code.0)
}

/// The log-in is forgotten here, too, also where the server had signed it out already.
pub async fn log_out(transport: Transport, output: Output) -> anyhow::Result<()> {
    let login = Login::load()?;
    let (client, _events) = Client::open_by(&login.server, transport).await?;
    let params = ConnectParams { token: Some(login.token), resume: None };
    match client.call::<Connect>(&params).await {
        Ok(_) => {
            client.call::<Logout>(&Empty {}).await?;
        }
        Err(ClientError::Refused(error)) if error.code == ErrorCode::TokenInvalid => {}
        Err(error) => return Err(error.into()),
    }
    Login::forget()?;
    output.done("Logged out.");
    Ok(())
}

/// With the old and the new password, on two lines of standard input or asked for.
pub async fn change_password(
    server: Option<Server>,
    name: Option<Username>,
    from_stdin: bool,
    transport: Transport,
    output: Output,
) -> anyhow::Result<()> {
    let (server, username) = match (server, name) {
        (server, Some(name)) => (server.unwrap_or_default().trusted().await?, name),
        (None, None) => {
            let login = Login::load()?;
            (login.server, login.username)
        }
        (Some(_), None) => bail!("name the user, too"),
    };
    let old = Password(password("Old password: ", from_stdin)?);
    let new_password = Password(password("New password: ", from_stdin)?);
    if !from_stdin && password("New password again: ", false)? != new_password.0 {
        bail!("the two new passwords differ");
    }
    let (client, _) = Client::open_by(&server, transport).await?;
    let params = PasswordChangeParams { username, password: old, new_password };
    client.call::<PasswordChange>(&params).await.context("the password was not changed")?;
    output.done("The password is changed.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_leads_to_the_front_door_and_its_code_to_no_server() {
        let link = |server: &str| invite_link(&server.parse().expect("an address"), &InviteCode("ab-cd".to_owned()));
        assert_eq!(link("http://box.local:8080"), "http://box.local:8080/#invite=ab-cd");
        assert_eq!(link("https://box.local"), "http://box.local/#invite=ab-cd");
        assert_eq!(link("https://[fd00::9]"), "http://[fd00::9]/#invite=ab-cd");
        assert_eq!(link("https://box.local:8443"), "https://box.local:8443/#invite=ab-cd");
        assert_eq!(link("http://box.local"), "http://box.local/#invite=ab-cd");
    }
}

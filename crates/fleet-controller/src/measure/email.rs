//! Mail by SMTP: TLS from the start on port 465, else STARTTLS, without which nothing is sent unless the step says so.

use std::time::Duration;

use fleet_workflow::graph::measure::Email;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::Job;
use super::secrets::Secrets;
use crate::context::Context;

/// How long the whole conversation may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The port that speaks TLS from the start.
const IMPLICIT_TLS: u16 = 465;

pub(super) async fn send(ctx: &Context, job: &Job, mail: &Email, secrets: &Secrets) -> Result<(), String> {
    let message = compose(job, mail, secrets)?;
    let _permit = ctx.outbound.permit().await?;
    let talked = tokio::time::timeout(DEADLINE, talk(ctx, mail, &message, secrets)).await;
    let place = format!("{}:{}", mail.host, mail.port);
    match talked {
        Ok(talked) => talked.map_err(|problem| format!("{place}: {problem}")),
        Err(_) => Err(format!("{place}: the mail wasn't taken within {} s", DEADLINE.as_secs())),
    }
}

fn compose(job: &Job, mail: &Email, secrets: &Secrets) -> Result<Message, String> {
    let mailbox = |address: &str, alias: Option<&String>| {
        let address = address.parse().map_err(|_| format!("{address:?} is no mail address"))?;
        Ok::<_, String>(Mailbox::new(alias.cloned(), address))
    };
    let from = mailbox(&secrets.text(&mail.address)?, mail.alias.as_ref())?;
    let domain = from.email.domain().to_owned();
    // The same for every try: a server that keeps apart what it has seen takes it once.
    let mut message = Message::builder()
        .from(from)
        .message_id(Some(format!("<{}@{domain}>", job.key)))
        .subject(&mail.subject)
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(mailbox(to, None)?);
    }
    message.body(mail.body.clone()).map_err(|error| error.to_string())
}

async fn talk(ctx: &Context, mail: &Email, message: &Message, secrets: &Secrets) -> Result<(), String> {
    let say = |error: lettre::transport::smtp::Error| fleet_members::innermost(&error);
    let hello = ClientId::default();
    let tls = || TlsParameters::new_rustls(mail.host.clone()).map_err(say);
    let mut connection = if mail.port == IMPLICIT_TLS {
        let addresses = ctx.outbound.addresses(&mail.host, mail.port).await?;
        AsyncSmtpConnection::connect_tokio1(addresses.as_slice(), Some(DEADLINE), &hello, Some(tls()?), None)
            .await
    } else {
        let stream = ctx.outbound.connect(&mail.host, mail.port).await?;
        AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await
    }
    .map_err(say)?;
    if mail.port != IMPLICIT_TLS && !mail.plaintext {
        if !connection.can_starttls() {
            connection.abort().await;
            return Err("the server offers no TLS (STARTTLS); use port 465, or say plaintext: true where nothing secret is sent".to_owned());
        }
        connection.starttls(tls()?, &hello).await.map_err(say)?;
    }
    if let Some(password) = &mail.password {
        let account = Credentials::new(secrets.text(&mail.address)?, secrets.text(password)?);
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &account).await.map_err(say)?;
    }
    let sent = connection.send(message.envelope(), &message.formatted()).await.map_err(say);
    // It is taken; whether the farewell arrives changes nothing.
    let _ = connection.quit().await;
    sent.map(|_| ())
}

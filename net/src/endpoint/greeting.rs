//! What both sides of a new connection say first, on a stream of its own.
//!
//! Relies on `rama_wire::session` for the bytes. The dialling side says who it is, the accepting
//! side answers with a welcome or a refusal in words. What must stay true: versions are compared
//! before anything else is read, so that processes of any two releases can name both; a name is
//! believed when the certificate says the same.

use std::net::SocketAddr;

use quinn::{Connection, ConnectionError, ReadExactError, RecvStream, SendStream};
use rama_wire::session::{
    Answer, BadRecord, Hello, PRELUDE_BYTES, RELEASE_BYTES_MAX, Role, Versions, greeting,
    read_prelude,
};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::{Context, Dial, EndpointConfig, Peer};
use crate::error::NetError;
use crate::identity::Identity;
use crate::security::Security;

/// The dialling side.
pub(super) async fn greet(
    connection: &Connection,
    context: &Context,
    dial: &Dial,
) -> Result<Peer, NetError> {
    let address = dial.address;
    let lost = |cause| NetError::from_connection(address, cause);
    let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
    let hello = context.config.hello();
    say(
        &mut send,
        context.config.versions,
        &hello.encode(),
        connection,
    )
    .await?;
    let (theirs, body) = listen(&mut recv, connection).await?;
    let version = common(context, theirs, address)?;
    let answer = Answer::decode(&body).map_err(|source| NetError::Record { address, source })?;
    match answer {
        Answer::Refused(text) => Err(NetError::Refused { address, text }),
        Answer::Welcome(hello) => {
            let peer = check(connection, context, hello, version)?;
            expect(&peer, dial)?;
            Ok(peer)
        }
    }
}

/// The accepting side.
pub(super) async fn answer(connection: &Connection, context: &Context) -> Result<Peer, NetError> {
    let address = connection.remote_address();
    let lost = |cause| NetError::from_connection(address, cause);
    let (mut send, mut recv) = connection.accept_bi().await.map_err(lost)?;
    let checked = hear(&mut recv, connection, context).await;
    let answer = match &checked {
        Ok(_) => Answer::Welcome(context.config.hello()),
        Err(error) => Answer::Refused(words(error, context)),
    };
    let versions = context.config.versions;
    say(&mut send, versions, &answer.encode(), connection).await?;
    if checked.is_err() {
        // A close would overtake the answer.
        let _ = send.stopped().await;
    }
    checked
}

async fn hear(
    recv: &mut RecvStream,
    connection: &Connection,
    context: &Context,
) -> Result<Peer, NetError> {
    let address = connection.remote_address();
    let (theirs, body) = listen(recv, connection).await?;
    let version = common(context, theirs, address)?;
    let hello = Hello::decode(&body).map_err(|source| NetError::Record { address, source })?;
    check(connection, context, hello, version)
}

/// A refusal from the view of the one who is refused.
fn words(error: &NetError, context: &Context) -> String {
    let ours = &context.config;
    match error {
        NetError::Version { theirs, .. } => format!(
            "it speaks wire version {}, this process {theirs}; upgrade the older one",
            ours.versions
        ),
        NetError::Cluster { theirs, .. } => {
            format!(
                "it is of cluster {}, this process of {theirs}",
                ours.cluster
            )
        }
        NetError::Unexpected {
            expected, found, ..
        } => format!("expected {expected}, found {found}"),
        other => other.to_string(),
    }
}

fn common(context: &Context, theirs: Versions, address: SocketAddr) -> Result<u16, NetError> {
    let ours = context.config.versions;
    ours.common(theirs).ok_or(NetError::Version {
        address,
        theirs,
        ours,
    })
}

/// Where nothing is proved, a program from outside need not know which cluster it asks: it says the
/// nil id.
fn unnamed(config: &EndpointConfig, hello: &Hello) -> bool {
    let outside =
        |cluster: Uuid, role| cluster.is_nil() && matches!(role, Role::Client | Role::Operator);
    matches!(config.security, Security::InsecureLoopback)
        && (outside(config.cluster, config.role) || outside(hello.cluster, hello.role))
}

/// Whether a peer may be believed, and who it is.
fn check(
    connection: &Connection,
    context: &Context,
    hello: Hello,
    version: u16,
) -> Result<Peer, NetError> {
    let address = connection.remote_address();
    let config = &context.config;
    if hello.cluster != config.cluster && !unnamed(config, &hello) {
        return Err(NetError::Cluster {
            address,
            theirs: hello.cluster,
            ours: config.cluster,
        });
    }
    if let Security::Mutual(_) = config.security {
        let identity = identity(connection)?;
        let proved = (identity.cluster, identity.node) == (hello.cluster, hello.node);
        if !proved || !identity.roles.contains(hello.role) {
            return Err(NetError::Unexpected {
                address,
                expected: format!(
                    "the {} of node {} by its certificate",
                    identity.roles, identity.node
                ),
                found: format!("a {} of node {}", hello.role, hello.node),
            });
        }
    }
    let mut release = hello.release;
    if release.len() > RELEASE_BYTES_MAX {
        release = "?".to_owned();
    }
    Ok(Peer {
        address,
        role: hello.role,
        node: hello.node,
        incarnation: hello.incarnation,
        release,
        version,
    })
}

/// Who the peer's certificate says it is; its chain was verified in the handshake.
pub(super) fn identity(connection: &Connection) -> Result<Identity, NetError> {
    let address = connection.remote_address();
    certificate(connection)
        .ok_or(crate::identity::BadIdentity::NoName)
        .and_then(|certificate| Identity::of(&certificate))
        .map_err(|source| NetError::Identity { address, source })
}

/// The peer's own certificate.
pub(super) fn certificate(connection: &Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?;
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// Whether a peer is who was wanted.
pub(super) fn expect(peer: &Peer, dial: &Dial) -> Result<(), NetError> {
    let address = dial.address;
    if !dial.roles.contains(peer.role) {
        return Err(NetError::unexpected_role(address, dial.roles, peer.role));
    }
    match dial.node {
        Some(node) if node != peer.node => Err(NetError::Unexpected {
            address,
            expected: format!("node {node}"),
            found: format!("node {}", peer.node),
        }),
        _ => Ok(()),
    }
}

async fn say(
    send: &mut SendStream,
    versions: Versions,
    body: &[u8],
    connection: &Connection,
) -> Result<(), NetError> {
    let written = send.write_all(&greeting(versions, body)).await;
    let finished = written.is_ok() && send.finish().is_ok();
    if finished {
        return Ok(());
    }
    Err(gone(connection))
}

/// The versions of the other side and the body of its greeting.
async fn listen(
    recv: &mut RecvStream,
    connection: &Connection,
) -> Result<(Versions, Vec<u8>), NetError> {
    let address = connection.remote_address();
    let mut prelude = [0; PRELUDE_BYTES];
    exactly(recv, &mut prelude, connection).await?;
    let (versions, length) =
        read_prelude(&prelude).map_err(|source| NetError::Record { address, source })?;
    let mut body = vec![0; length];
    exactly(recv, &mut body, connection).await?;
    Ok((versions, body))
}

async fn exactly(
    recv: &mut RecvStream,
    bytes: &mut [u8],
    connection: &Connection,
) -> Result<(), NetError> {
    let address = connection.remote_address();
    recv.read_exact(bytes).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(found) => NetError::Record {
            address,
            source: BadRecord::Malformed {
                what: "a greeting",
                cause: format!("it ended after {found} bytes"),
            },
        },
        ReadExactError::ReadError(_) => gone(connection),
    })
}

/// Why a connection, which can no longer be used, ended.
fn gone(connection: &Connection) -> NetError {
    let address = connection.remote_address();
    let cause = connection.close_reason().unwrap_or(ConnectionError::Reset);
    NetError::from_connection(address, cause)
}

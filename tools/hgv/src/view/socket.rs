//! One window: its messages to the desk, frames and figures to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::Viewer;
use super::desk::Outgoing;
use super::protocol::{Ask, MAX_MESSAGE, Stats, Tell};
use super::stats::Meter;
use crate::subject::Content;

/// How often figures are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A window that takes no byte for this long is closed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that wait to be sent.
const WAITING: usize = 8;
/// Close code that says that another window has taken over.
const REPLACED: u16 = 4001;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Talks with a window until one side ends it.
pub(crate) async fn talk(upgraded: Upgraded, viewer: Arc<Viewer>) {
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE);
    config.max_frame_size = Some(MAX_MESSAGE);
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let (to, from) = mpsc::channel(WAITING);
    let id = viewer.desk.open(to);
    let why = match converse(&mut socket, &viewer, id, from).await {
        Ok(why) => why,
        // Too long a message, or one that breaks the protocol: say so if it can still be heard.
        Err(SocketError::Capacity(_)) => Some((CloseCode::Size, "the message is too long")),
        Err(_) => None,
    };
    viewer.desk.close(id);
    if let Some((code, reason)) = why {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let _ = tokio::time::timeout(PATIENCE, socket.close(Some(frame))).await;
    }
}

/// Returns with the reason that the window is to be told, if any.
async fn converse(
    socket: &mut Socket,
    viewer: &Viewer,
    id: u64,
    mut from: mpsc::Receiver<Outgoing>,
) -> Result<Option<(CloseCode, &'static str)>, SocketError> {
    send(socket, Message::text(viewer.hello_json())).await?;
    let mut ticks = tokio::time::interval(TICK);
    let (mut meter, mut last) = (Meter::default(), Stats::default());
    loop {
        tokio::select! {
            message = socket.next() => match message {
                None | Some(Ok(Message::Close(_))) => return Ok(None),
                Some(message) => {
                    if let Some(answer) = take(message?, viewer, id) {
                        send(socket, Message::text(answer)).await?;
                    }
                }
            },
            outgoing = from.recv() => match outgoing {
                Some(Outgoing::Frame(bytes)) => send(socket, Message::binary(bytes)).await?,
                Some(Outgoing::Text(text)) => send(socket, Message::text(text)).await?,
                Some(Outgoing::Replaced) | None => {
                    let code = CloseCode::from(REPLACED);
                    return Ok(Some((code, "the volume is shown in another window")));
                }
            },
            _ = ticks.tick() => {
                let stats = meter.stats(&viewer.subject, viewer.desk.took());
                if stats != last {
                    send(socket, Message::text(Tell::Stats(&stats).to_json())).await?;
                    last = stats;
                }
            }
        }
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), SocketError> {
    let sent = tokio::time::timeout(PATIENCE, socket.send(message)).await;
    sent.unwrap_or(Err(SocketError::ConnectionClosed))
}

/// Takes a message of the page; returns an answer if it makes no sense.
fn take(message: Message, viewer: &Viewer, id: u64) -> Option<String> {
    let text = match message {
        Message::Text(text) => text,
        Message::Binary(_) => {
            let message = "binary messages mean nothing here".into();
            return Some(Tell::Error { message }.to_json());
        }
        _ => return None,
    };
    match Ask::parse(&text) {
        Ok(Ask::Camera(camera)) => viewer.desk.set_camera(id, camera),
        Ok(Ask::Look(look)) => viewer.desk.set_look(id, *look),
        Ok(Ask::Shown { .. }) => viewer.desk.shown(id),
        Ok(Ask::Save) => viewer.desk.save(id),
        Ok(Ask::Retry) => {
            if let Content::Streamed(streamer) = &viewer.subject.content {
                streamer.retry();
            }
        }
        Err(error) => {
            let message = error.to_string();
            return Some(Tell::Error { message }.to_json());
        }
    }
    None
}

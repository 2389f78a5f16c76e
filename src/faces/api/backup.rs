//! `GET /v1/backup`: the whole store as one tar file, consistent at an offset, while the hub goes
//! on. A backup that breaks off has no manifest at its end and is refused by a restore.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::mpsc;
use tokio_stream::Stream;

use crate::faces::auth::need_admin;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::Caller;
use crate::store;

/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 4;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 << 10;

/// `GET /v1/backup`
pub(crate) async fn take(State(hub): State<Hub>, caller: Caller) -> Result<Response, Problem> {
    need_admin(&caller)?;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let out = BufWriter::with_capacity(PIECE_BYTES, Pieces(sender));
    let writing = async move {
        let manifest = hub.reader.backup(out).await?;
        tracing::info!(next_offset = manifest.next_offset, "a backup was taken");
        Ok(())
    };
    let headers = [(CONTENT_TYPE, "application/x-tar"), (CACHE_CONTROL, "no-store")];
    let body = Body::from_stream(Download { pieces, writing: Some(Box::pin(writing)) });
    Ok((headers, body).into_response())
}

/// Where the writing thread puts its bytes. It waits for a slow client, and ends with one that
/// goes away.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writing under way.
type Writing = Pin<Box<dyn Future<Output = Result<(), store::Error>> + Send>>;

/// The body: what the writing thread made, and an error where it could not go on.
struct Download {
    pieces: mpsc::Receiver<Bytes>,
    writing: Option<Writing>,
}

impl Stream for Download {
    type Item = Result<Bytes, store::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(Poll::Ready(written)) =
            self.writing.as_mut().map(|writing| writing.as_mut().poll(context))
        {
            self.writing = None;
            if let Err(error) = written {
                tracing::error!(%error, "a backup broke off");
                return Poll::Ready(Some(Err(error)));
            }
        }
        self.pieces.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

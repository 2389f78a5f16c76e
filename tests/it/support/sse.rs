//! A client of event streams that parses frames as a browser does.

use bytes::{Bytes, BytesMut};
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::http::Api;
use super::wait::in_time;

/// One open stream. Dropping it closes the connection.
pub(crate) struct Stream {
    body: Incoming,
    buffer: BytesMut,
}

/// One block of a stream.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) comments: usize,
}

impl Stream {
    /// Opens a stream. `path` has the query.
    pub(crate) async fn open(api: &Api, path: &str, last_event_id: Option<&str>) -> Self {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        Self::of(api.open(Method::GET, path, &headers, Bytes::new()).await)
    }

    /// The stream that an answer is.
    pub(crate) fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status().as_u16(), 200, "{answer:?}");
        let media_type = answer.headers()["content-type"].to_str().expect("text");
        assert!(media_type.starts_with("text/event-stream"), "{media_type}");
        Self { body: answer.into_body(), buffer: BytesMut::new() }
    }

    /// The next block of whatever kind; `None` when the hub closed the stream.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        in_time("a frame of the stream", self.read_frame()).await
    }

    /// The next block that has data.
    pub(crate) async fn event(&mut self) -> Frame {
        loop {
            let frame = self.frame().await.expect("the stream stays open");
            if frame.data.is_some() {
                return frame;
            }
        }
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let block = self.buffer.split_to(end + 2);
                return Some(Frame::parse(std::str::from_utf8(&block).expect("UTF-8")));
            }
            let chunk = self.body.frame().await?.ok()?;
            if let Ok(data) = chunk.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

impl Frame {
    fn parse(block: &str) -> Self {
        let mut frame = Self::default();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" => frame.comments += 1,
                "id" => frame.id = Some(value),
                "event" => frame.event = Some(value),
                "retry" => frame.retry = Some(value),
                "data" => {
                    assert!(frame.data.is_none(), "an event is one line: {block}");
                    frame.data = Some(value);
                }
                other => panic!("unknown field {other:?} in {block:?}"),
            }
        }
        frame
    }

    /// The event that the block carries.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.data.as_deref().expect("data")).expect("JSON")
    }
}

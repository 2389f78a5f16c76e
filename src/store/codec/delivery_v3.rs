//! Version 2 of the retry and of progress, and version 3 of the dead letter: attempts with their
//! step and answer, how far a template has come, the last request, replays. Frozen: never changed,
//! only followed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::envelope::{malformed, time};
use super::{Error, delivery_v1, delivery_v2};
use crate::domain::delivery::{self, Answer, Excerpt, Sent};
use crate::domain::record;
use crate::domain::template::Response;

#[derive(Serialize, Deserialize)]
pub(super) struct Retry {
    subscription: u32,
    offset: u64,
    due: i64,
    attempts: Vec<Attempt>,
    delayed: bool,
    replay: bool,
    responses: Vec<StepResponse>,
}

/// Version 2 of progress: version 1 and replays.
#[derive(Serialize, Deserialize)]
pub(super) struct Progress {
    before: delivery_v1::Progress,
    replays: Vec<(u32, u64)>,
    replays_over: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct DeadLetter {
    before: delivery_v2::DeadLetter,
    reason: Option<Reason>,
    /// Of each attempt, in order.
    details: Vec<Detail>,
    request: Option<Request>,
    note: Option<String>,
    replay: bool,
}

/// Reasons that version 2 cannot say.
#[derive(Serialize, Deserialize)]
enum Reason {
    Template,
    Hops,
}

#[derive(Serialize, Deserialize)]
struct Attempt {
    before: delivery_v1::Attempt,
    detail: Detail,
}

/// What version 1 of an attempt did not say.
#[derive(Serialize, Deserialize, Default)]
struct Detail {
    step: u32,
    answer: Option<(Vec<(String, String)>, Part)>,
}

/// The first bytes of something, and whether there were more.
#[derive(Serialize, Deserialize)]
struct Part {
    bytes: Vec<u8>,
    is_cut: bool,
}

#[derive(Serialize, Deserialize)]
struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Part,
}

#[derive(Serialize, Deserialize)]
struct StepResponse {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    /// JSON.
    body: Option<String>,
}

impl From<delivery_v1::Retry> for Retry {
    fn from(held: delivery_v1::Retry) -> Self {
        let attempt = |before| Attempt { before, detail: Detail::default() };
        Self {
            subscription: held.subscription,
            offset: held.offset,
            due: held.due,
            attempts: held.attempts.into_iter().map(attempt).collect(),
            delayed: false,
            replay: false,
            responses: vec![],
        }
    }
}

impl From<delivery_v2::DeadLetter> for DeadLetter {
    fn from(before: delivery_v2::DeadLetter) -> Self {
        Self { before, reason: None, details: vec![], request: None, note: None, replay: false }
    }
}

impl From<&delivery::Retry> for Retry {
    fn from(retry: &delivery::Retry) -> Self {
        Self {
            subscription: retry.subscription,
            offset: retry.offset,
            due: retry.due.as_millisecond(),
            attempts: retry
                .attempts
                .iter()
                .map(|attempt| Attempt { before: attempt.into(), detail: attempt.into() })
                .collect(),
            delayed: retry.delayed,
            replay: retry.replay,
            responses: retry.responses.iter().map(StepResponse::from).collect(),
        }
    }
}

impl TryFrom<Retry> for delivery::Retry {
    type Error = Error;

    fn try_from(held: Retry) -> Result<Self, Error> {
        let (before, details): (Vec<_>, Vec<_>) =
            held.attempts.into_iter().map(|held| (held.before, held.detail)).unzip();
        Ok(Self {
            subscription: held.subscription,
            offset: held.offset,
            due: time(held.due)?,
            attempts: with_details(delivery_v1::attempts(before)?, details),
            delayed: held.delayed,
            replay: held.replay,
            responses: held
                .responses
                .into_iter()
                .map(Response::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&record::Progress> for Progress {
    fn from(held: &record::Progress) -> Self {
        let (replays, replays_over) = (held.replays.clone(), held.replays_over.clone());
        Self { before: held.into(), replays, replays_over }
    }
}

impl From<Progress> for record::Progress {
    fn from(held: Progress) -> Self {
        let (replays, replays_over) = (held.replays, held.replays_over);
        Self { replays, replays_over, ..held.before.into() }
    }
}

impl From<&delivery::DeadLetter> for DeadLetter {
    fn from(letter: &delivery::DeadLetter) -> Self {
        Self {
            before: letter.into(),
            reason: match letter.reason {
                delivery::Reason::Template => Some(Reason::Template),
                delivery::Reason::Hops => Some(Reason::Hops),
                _ => None,
            },
            details: letter.attempts.iter().map(Detail::from).collect(),
            request: letter.request.as_ref().map(|sent| Request {
                method: sent.method.clone(),
                url: sent.url.clone(),
                headers: sent.headers.clone(),
                body: (&sent.body).into(),
            }),
            note: letter.note.clone(),
            replay: letter.replay,
        }
    }
}

impl TryFrom<DeadLetter> for delivery::DeadLetter {
    type Error = Error;

    fn try_from(held: DeadLetter) -> Result<Self, Error> {
        let mut letter = Self::try_from(held.before)?;
        match held.reason {
            Some(Reason::Template) => letter.reason = delivery::Reason::Template,
            Some(Reason::Hops) => letter.reason = delivery::Reason::Hops,
            None => {}
        }
        letter.attempts = with_details(letter.attempts, held.details);
        letter.request = held.request.map(|sent| Sent {
            method: sent.method,
            url: sent.url,
            headers: sent.headers,
            body: sent.body.into(),
        });
        (letter.note, letter.replay) = (held.note, held.replay);
        Ok(letter)
    }
}

fn with_details(
    mut attempts: Vec<delivery::Attempt>,
    details: Vec<Detail>,
) -> Vec<delivery::Attempt> {
    for (attempt, detail) in attempts.iter_mut().zip(details) {
        attempt.step = detail.step;
        attempt.answer =
            detail.answer.map(|(headers, body)| Box::new(Answer { headers, body: body.into() }));
    }
    attempts
}

impl From<&delivery::Attempt> for Detail {
    fn from(attempt: &delivery::Attempt) -> Self {
        let answer = attempt.answer.as_ref();
        Self {
            step: attempt.step,
            answer: answer.map(|answer| (answer.headers.clone(), (&answer.body).into())),
        }
    }
}

impl From<&Excerpt> for Part {
    fn from(excerpt: &Excerpt) -> Self {
        Self { bytes: excerpt.bytes.to_vec(), is_cut: excerpt.is_cut }
    }
}

impl From<Part> for Excerpt {
    fn from(part: Part) -> Self {
        Self { bytes: Bytes::from(part.bytes), is_cut: part.is_cut }
    }
}

impl From<&Response> for StepResponse {
    fn from(response: &Response) -> Self {
        Self {
            status: response.status,
            headers: response.headers.clone().into_iter().collect(),
            body: response.body.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<StepResponse> for Response {
    type Error = Error;

    fn try_from(held: StepResponse) -> Result<Self, Error> {
        let body = held.body.as_deref().map(serde_json::from_str).transpose();
        Ok(Self {
            status: held.status,
            headers: held.headers.into_iter().collect(),
            body: body.map_err(malformed)?,
        })
    }
}

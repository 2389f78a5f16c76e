//! Records of jobs for tests. Only ever appended to.

use std::sync::Arc;

use super::samples::at;
use crate::domain::command::Actor;
use crate::domain::job::{Counts, Handed, Job, Skipped, State};
use crate::domain::letter::{Choice, Id};
use crate::domain::record::{Forgotten, Record, Redriven, Why};

/// One record of each kind.
pub(super) fn every_kind() -> Vec<Record> {
    vec![
        Record::Job(Arc::new(job())),
        Record::Redriven(Arc::new(Redriven {
            job: 11,
            due: at(6),
            letters: vec![
                Handed { letter: Id { subscription: 7, offset: 8 }, key: None },
                Handed { letter: Id { subscription: 9, offset: 1 << 33 }, key: Some("x".into()) },
            ],
        })),
        Record::Forgotten(Arc::new(Forgotten {
            letters: vec![Id { subscription: 7, offset: 8 }],
            jobs: vec![11],
            why: Why::Expired,
        })),
    ]
}

/// A job with everything that a job can have.
pub(crate) fn job() -> Job {
    Job {
        id: 11,
        actor: Actor { owner: Some("t1".to_owned()), admin: true },
        choice: Choice {
            ids: vec![Id { subscription: 7, offset: 8 }],
            subscription: Some("sub_1".to_owned()),
            code: Some("E-DELIVERY-PERMANENT".to_owned()),
            since: Some(at(1)),
            until: Some(at(9)),
        },
        rate_per_second: Some(5),
        created_at: at(10),
        total: 6,
        state: State::Cancelled(at(12)),
        counts: Counts { handed: 5, delivered: 2, died: 1, dropped: 1 },
        skipped: Skipped { event_gone: 3, subscription_ended: 4 },
    }
}

/// One for each variant of their parts.
pub(super) fn every_variant() -> Vec<Record> {
    let actor = Actor { owner: None, admin: false };
    let running = Job {
        id: 1 << 40,
        actor,
        choice: Choice::default(),
        rate_per_second: None,
        state: State::Running,
        counts: Counts::default(),
        skipped: Skipped::default(),
        ..job()
    };
    let done = Job { state: State::Done(at(13)), ..running.clone() };
    let forgotten = |why| Forgotten { letters: vec![], jobs: vec![], why };
    let mut all = [running, done].map(|job| Record::Job(Arc::new(job))).to_vec();
    let whys = [Why::Purged, Why::Dropped];
    all.extend(whys.map(|why| Record::Forgotten(Arc::new(forgotten(why)))));
    all
}

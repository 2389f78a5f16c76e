//! What is decided when time has passed: leases are told to be expiring, then end; what ended long
//! ago is forgotten.

use std::sync::Arc;

use super::command::{Decision, Refusal, Reply, Rules, View};
use super::decide::{end, notice};
use super::record::Record;
use super::subscription::{End, State, Subscription};
use super::{Timestamp, redrive};

/// While the wall clock is visibly wrong (earlier than the newest record) nothing expires; what is
/// too much goes all the same.
pub(super) fn sweep(view: &dyn View, now: Timestamp, rules: &Rules) -> Result<Decision, Refusal> {
    let is_wrong = now < view.newest();
    let (mut records, letters) = redrive::forget_old(view, (!is_wrong).then_some(now), rules)?;
    let reply = Reply::Letters(letters);
    if is_wrong {
        return Ok(Decision { records, reply });
    }
    let ended_before = now.checked_sub(rules.ended_keep).unwrap_or(Timestamp::MIN);
    for subscription in view.due(now, ended_before)? {
        match subscription.state {
            State::Ended(_, at) if at <= ended_before => {
                let Subscription { number, id, .. } = subscription;
                records.push(Record::SubscriptionRemoved { number, id });
            }
            State::Active | State::Paused | State::Parked(_)
                if subscription.lease.is_some_and(|lease| lease.is_over(now)) =>
            {
                records.extend(end(subscription, End::Expired, now));
            }
            State::Active | State::Paused | State::Parked(_)
                if subscription.lease.is_some_and(|lease| lease.expiring_at() <= now)
                    && !view.expiry_told(&subscription)? =>
            {
                let event = notice(&subscription, "expiring", None, now);
                records.push(Record::Event(Arc::new(event)));
                records.push(Record::ExpiryTold { subscription: subscription.number });
            }
            State::Ended(..) | State::Active | State::Paused | State::Parked(_) => {}
        }
    }
    Ok(Decision { records, reply })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Change, Command, Expect};
    use crate::domain::held::{Held, admin, notices, user};
    use crate::domain::samples::at;

    #[test]
    fn an_expiring_lease_is_told_once_with_a_tenth_left() {
        let mut state = Held::default();
        state.put("one", admin(), Expect::Nothing, 0).expect("created");
        let sweep = |state: &mut Held, now| {
            let decision = state.run(Command::Sweep, at(now)).expect("swept");
            notices(&decision).iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>()
        };
        let expiring = ["tidings.subscription.expiring"];
        assert!(sweep(&mut state, 539).is_empty());
        assert_eq!(sweep(&mut state, 540), expiring);
        assert!(sweep(&mut state, 541).is_empty());
        state.change("one", admin(), Change::Pause, 542).expect("paused");
        assert!(sweep(&mut state, 543).is_empty(), "the lease is the same");
        state.change("one", admin(), Change::Renew(None), 544).expect("renewed");
        assert!(sweep(&mut state, 545).is_empty());
        assert_eq!(sweep(&mut state, 1_084), expiring, "a new lease expires anew");
        assert_eq!(sweep(&mut state, 1_144), ["tidings.subscription.expired"]);
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_and_is_forgotten_later() {
        let mut state = Held::default();
        state.put("one", user("a"), Expect::Nothing, 0).expect("created");
        assert!(state.run(Command::Sweep, at(539)).expect("swept").records.is_empty());
        state.change("one", user("a"), Change::Renew(None), 500).expect("renewed");
        let swept = state.run(Command::Sweep, at(1_099)).expect("swept");
        assert_eq!(notices(&swept), ["tidings.subscription.expiring"]);
        let swept = state.run(Command::Sweep, at(1_100)).expect("swept");
        assert_eq!(notices(&swept), ["tidings.subscription.expired"]);
        let refused = state.change("one", user("a"), Change::Renew(Some(60)), 1_101);
        assert_eq!(refused.err(), Some(Refusal::Ended(End::Expired)));
        assert!(state.run(Command::Sweep, at(2_099)).expect("swept").records.is_empty());
        assert_eq!(state.run(Command::Sweep, at(2_100)).expect("swept").records.len(), 1);
        assert!(state.subscriptions.is_empty());
    }
}

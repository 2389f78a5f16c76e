//! Exit codes: what a service manager and scripts go by.

use super::Error;
use crate::{broker, net, run, store};

/// The code that a command ends with.
pub(super) fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Usage(_) => 2,
        Error::Config(_) | Error::Run(run::Error::Config(_)) => 78,
        Error::Run(run::Error::Store(error)) | Error::Store(error) => of_store(error),
        Error::Run(error) if address_in_use(error) => 69,
        Error::Run(run::Error::PartEnded(_)) => 70,
        Error::Run(_) | Error::Fault(_) => 1,
    }
}

/// Whether a listener's address is taken by somebody else.
pub(super) fn address_in_use(error: &run::Error) -> bool {
    match error {
        run::Error::Net(net::Error::AddressInUse(_)) => true,
        run::Error::Broker(broker::Error::Bind { source, .. }) => {
            source.kind() == std::io::ErrorKind::AddrInUse
        }
        _ => false,
    }
}

fn of_store(error: &store::Error) -> u8 {
    match error {
        store::Error::Locked(_) => 75,
        store::Error::Key(_) => 78,
        store::Error::Full(_)
        | store::Error::Floor { .. }
        | store::Error::Io(_)
        | store::Error::Gone(_) => 73,
        store::Error::Fatal(_) => 70,
        store::Error::Newer(_)
        | store::Error::Tables(_)
        | store::Error::Backup(_)
        | store::Error::Busy
        | store::Error::Closed => 1,
    }
}

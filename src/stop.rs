//! How parts are told to end.

use tokio_util::sync::CancellationToken;

/// The sign to end. Clones see the same sign.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Gives the sign.
    pub fn set(&self) {
        self.0.cancel();
    }

    /// Whether the sign was given.
    pub fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the sign.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Waits for the sign, for who waits long: one registration, however often it is polled.
    pub fn wait_owned(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().cancelled_owned()
    }

    /// A sign of its own that is also given when this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }
}

//! MQTT 5 reason codes, which are also how the front says to itself what went wrong. What 3.1.1
//! clients are told is derived from them; they never see one.

/// A reason code of MQTT 5 (section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reason(pub(super) u8);

impl Reason {
    pub(super) const UNSPECIFIED: Self = Self(0x80);
    pub(super) const MALFORMED: Self = Self(0x81);
    pub(super) const PROTOCOL: Self = Self(0x82);
    pub(super) const IMPLEMENTATION: Self = Self(0x83);
    pub(super) const UNSUPPORTED_VERSION: Self = Self(0x84);
    pub(super) const CLIENT_ID: Self = Self(0x85);
    pub(super) const CREDENTIALS: Self = Self(0x86);
    pub(super) const NOT_AUTHORIZED: Self = Self(0x87);
    pub(super) const SHUTTING_DOWN: Self = Self(0x8B);
    pub(super) const AUTHENTICATION_METHOD: Self = Self(0x8C);
    pub(super) const KEEP_ALIVE: Self = Self(0x8D);
    pub(super) const TAKEN_OVER: Self = Self(0x8E);
    pub(super) const TOPIC_NAME: Self = Self(0x90);
    pub(super) const TOPIC_ALIAS: Self = Self(0x94);
    pub(super) const PACKET_TOO_LARGE: Self = Self(0x95);
    pub(super) const QUOTA: Self = Self(0x97);
    pub(super) const ADMINISTRATIVE: Self = Self(0x98);
    pub(super) const PAYLOAD_FORMAT: Self = Self(0x99);
    pub(super) const RETAIN: Self = Self(0x9A);
    pub(super) const QOS: Self = Self(0x9B);
    pub(super) const SUBSCRIPTION_IDS: Self = Self(0xA1);

    /// Whether the hub's own state ended the connection, not what the client did.
    pub(super) fn is_ours(self) -> bool {
        self == Self::SHUTTING_DOWN || self == Self::TAKEN_OVER
    }
}

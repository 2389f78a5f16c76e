//! Bytes to frames: where one packet ends and the next begins. A packet is judged by its first
//! bytes, so that nobody makes the hub wait for, or hold, a body that it would refuse.

use bytes::{Bytes, BytesMut};

use super::fields::variable;
use super::reason::Reason;

/// The protocol versions that the front speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.
    V5,
}

/// The packet types that a client may send to a server without QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Publish,
    PubAck,
    Subscribe,
    Unsubscribe,
    PingReq,
    Disconnect,
}

/// One whole packet, its content not yet looked at.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    /// The low half of the first byte: DUP, QoS and RETAIN of a PUBLISH.
    pub(super) flags: u8,
    whole: Bytes,
    body_at: usize,
}

impl Frame {
    /// Takes the next packet off the input; `None` if it is not all there yet.
    pub(super) fn take(input: &mut BytesMut, size_max: usize) -> Result<Option<Self>, Reason> {
        let Some((first, rest)) = input.split_first() else { return Ok(None) };
        let (kind, flags) = (kind(*first)?, first & 0x0F);
        let Some((length, length_bytes)) = variable(rest)? else { return Ok(None) };
        let body_at = 1 + length_bytes;
        let size = body_at + length;
        if size > size_max {
            return Err(Reason::PACKET_TOO_LARGE);
        }
        if input.len() < size {
            return Ok(None);
        }
        Ok(Some(Self { kind, flags, whole: input.split_to(size).freeze(), body_at }))
    }

    /// The packet without its fixed header.
    pub(super) fn body(&self) -> &[u8] {
        &self.whole[self.body_at..]
    }

    /// The whole packet, for the codec.
    pub(super) fn whole(&self) -> &[u8] {
        &self.whole
    }
}

/// The packet type, if a client may send it with these flags (MQTT 5 section 2.1.3).
fn kind(first: u8) -> Result<Kind, Reason> {
    match (first >> 4, first & 0x0F) {
        (1, 0) => Ok(Kind::Connect),
        (3, flags) => match (flags >> 1) & 0b11 {
            3 => Err(Reason::MALFORMED),
            0 if flags & 0b1000 != 0 => Err(Reason::MALFORMED),
            _ => Ok(Kind::Publish),
        },
        (4, 0) => Ok(Kind::PubAck),
        (8, 0b0010) => Ok(Kind::Subscribe),
        (10, 0b0010) => Ok(Kind::Unsubscribe),
        (12, 0) => Ok(Kind::PingReq),
        (14, 0) => Ok(Kind::Disconnect),
        // PUBREC, PUBREL and PUBCOMP belong to QoS 2, AUTH to extended authentication: never
        // agreed. CONNACK, SUBACK, UNSUBACK and PINGRESP are the server's.
        (2 | 5 | 6 | 7 | 9 | 11 | 13 | 15, _) => Err(Reason::PROTOCOL),
        _ => Err(Reason::MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_judged_by_its_first_bytes() {
        let check = |bytes: &[u8], expected: Result<Option<usize>, Reason>| {
            let mut input = BytesMut::from(bytes);
            let taken = Frame::take(&mut input, 100);
            let taken = taken.map(|frame| frame.map(|frame| frame.body().len()));
            assert_eq!(taken, expected, "{bytes:02x?}");
        };
        check(&[], Ok(None));
        check(&[0xC0], Ok(None));
        check(&[0xC0, 0], Ok(Some(0)));
        check(&[0x30, 3, 1, 2], Ok(None));
        check(&[0x30, 3, 1, 2, 3, 4], Ok(Some(3)));
        check(&[0x30, 99], Err(Reason::PACKET_TOO_LARGE));
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], Err(Reason::PACKET_TOO_LARGE));
        check(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], Err(Reason::MALFORMED));
        for reserved in [0x00, 0x01, 0x11, 0x36, 0x38, 0x41, 0x80, 0xA0, 0xC1, 0xE1] {
            check(&[reserved], Err(Reason::MALFORMED));
        }
        for never_agreed in [0x20, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xF0] {
            check(&[never_agreed], Err(Reason::PROTOCOL));
        }
    }
}

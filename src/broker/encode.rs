//! Packets to bytes. PUBLISH, PUBACK, PINGRESP and DISCONNECT are written here (many a second, or
//! wrongly by the codec), the others by the codec.

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, Protocol, SubAck, SubscribeReasonCode,
    UnsubAck, UnsubAckReason, v4::V4, v5::V5,
};

use super::reason::Reason;
use super::render::Rendered;
use super::wire::Version;

/// The largest remaining length that MQTT can say.
const LENGTH_MAX: usize = 268_435_455;

/// Longest reason string that is sent.
const REASON_STRING_MAX: usize = 512;

/// Writes a PUBLISH. `false`: it would be larger than the client takes, and nothing was written.
pub(super) fn publish(
    out: &mut BytesMut,
    rendered: &Rendered<'_>,
    version: Version,
    qos: u8,
    id: u16,
    size_max: usize,
) -> bool {
    let Rendered { topic, payload, properties } = rendered;
    let Ok(topic_length) = u16::try_from(topic.len()) else { return false };
    let property_block = match version {
        Version::V4 => 0,
        Version::V5 => variable_size(properties.len()) + properties.len(),
    };
    let id_size = if qos > 0 { 2 } else { 0 };
    let length = 2 + topic.len() + id_size + property_block + payload.len();
    let size = 1 + variable_size(length) + length;
    if length > LENGTH_MAX || size > size_max {
        return false;
    }
    out.reserve(size);
    out.put_u8(0x30 | (qos << 1));
    variable(out, length);
    out.put_u16(topic_length);
    out.put_slice(topic.as_bytes());
    if qos > 0 {
        out.put_u16(id);
    }
    if version == Version::V5 {
        variable(out, properties.len());
        out.put_slice(properties);
    }
    out.put_slice(payload);
    true
}

/// Writes the PUBACK of a message that is stored.
pub(super) fn puback(out: &mut BytesMut, id: u16) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(id);
}

/// Writes an MQTT 5 PUBACK that refuses, with the reason in words if the client wants words.
pub(super) fn puback_refused(out: &mut BytesMut, id: u16, reason: Reason, words: Option<&str>) {
    let words = words.map(|words| &words[..words.floor_char_boundary(REASON_STRING_MAX)]);
    let words_length = words.map(str::len).and_then(|length| u16::try_from(length).ok());
    let block = words_length.map_or(0, |length| 3 + usize::from(length));
    out.put_u8(0x40);
    variable(out, 3 + variable_size(block) + block);
    out.put_u16(id);
    out.put_u8(reason.0);
    variable(out, block);
    if let (Some(words), Some(length)) = (words, words_length) {
        out.put_u8(31);
        out.put_u16(length);
        out.put_slice(words.as_bytes());
    }
}

/// Writes a PINGRESP.
pub(super) fn pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Writes an MQTT 5 DISCONNECT.
pub(super) fn disconnect(out: &mut BytesMut, reason: Reason) {
    out.put_slice(&[0xE0, 1, reason.0]);
}

/// Writes a CONNACK that refuses. Some reasons have no code in 3.1.1: the connection just closes.
pub(super) fn refuse(out: &mut BytesMut, version: Version, reason: Reason) {
    match version {
        Version::V5 => out.put_slice(&[0x20, 3, 0, reason.0, 0]),
        Version::V4 => {
            let code = match reason {
                Reason::UNSUPPORTED_VERSION => 1,
                Reason::CLIENT_ID => 2,
                Reason::CREDENTIALS => 4,
                Reason::NOT_AUTHORIZED => 5,
                _ => return,
            };
            out.put_slice(&[0x20, 2, 0, code]);
        }
    }
}

/// Writes the CONNACK that accepts.
pub(super) fn accept(out: &mut BytesMut, version: Version, properties: ConnAckProperties) {
    let ack = ConnAck { session_present: false, code: ConnectReturnCode::Success };
    match version {
        Version::V4 => write(out, version, Packet::ConnAck(ack, None)),
        Version::V5 => write(out, version, Packet::ConnAck(ack, Some(properties))),
    }
}

/// Writes a SUBACK. 3.1.1 clients know one failure only, which the caller sees to.
pub(super) fn suback(
    out: &mut BytesMut,
    version: Version,
    id: u16,
    codes: Vec<SubscribeReasonCode>,
) {
    write(out, version, Packet::SubAck(SubAck { pkid: id, return_codes: codes }, None));
}

/// Writes an UNSUBACK.
pub(super) fn unsuback(
    out: &mut BytesMut,
    version: Version,
    id: u16,
    reasons: Vec<UnsubAckReason>,
) {
    write(out, version, Packet::UnsubAck(UnsubAck { pkid: id, reasons }, None));
}

fn write(out: &mut BytesMut, version: Version, packet: Packet) {
    let written = match version {
        Version::V4 => V4.write(packet, out),
        Version::V5 => V5.write(packet, out),
    };
    written.expect("acknowledgements are far below the largest packet");
}

fn variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7F).expect("seven bits fit into a byte");
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for value in [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, LENGTH_MAX] {
            let mut out = BytesMut::new();
            variable(&mut out, value);
            assert_eq!(fields::variable(&out), Ok(Some((value, variable_size(value)))), "{value}");
        }
    }

    #[test]
    fn packets_have_the_bytes_that_the_standard_says() {
        let check = |write: &dyn Fn(&mut BytesMut), expected: &[u8]| {
            let mut out = BytesMut::new();
            write(&mut out);
            assert_eq!(&out[..], expected);
        };
        let (v4, v5) = (Version::V4, Version::V5);
        check(&|out| puback(out, 7), b"\x40\x02\0\x07");
        let words = Some("no");
        let refusal = b"\x40\x09\0\x07\x90\x05\x1f\0\x02no";
        check(&|out| puback_refused(out, 7, Reason::TOPIC_NAME, words), refusal);
        check(&|out| puback_refused(out, 7, Reason::QUOTA, None), b"\x40\x04\0\x07\x97\0");
        check(&|out| disconnect(out, Reason::SHUTTING_DOWN), b"\xe0\x01\x8b");
        check(&|out| refuse(out, v4, Reason::CREDENTIALS), b"\x20\x02\0\x04");
        check(&|out| refuse(out, v5, Reason::CREDENTIALS), b"\x20\x03\0\x86\0");
        check(&|out| accept(out, v4, ConnAckProperties::default()), b"\x20\x02\0\0");
        let offer = ConnAckProperties { max_qos: Some(1), ..ConnAckProperties::default() };
        check(&|out| accept(out, v5, offer.clone()), b"\x20\x05\0\0\x02\x24\x01");
        let failure = || vec![SubscribeReasonCode::Failure];
        check(&|out| suback(out, v4, 7, failure()), b"\x90\x03\0\x07\x80");
        let gone = || vec![UnsubAckReason::NoSubscriptionExisted];
        check(&|out| unsuback(out, v4, 7, gone()), b"\xb0\x02\0\x07");
        check(&|out| unsuback(out, v5, 7, gone()), b"\xb0\x04\0\x07\0\x11");
    }
}

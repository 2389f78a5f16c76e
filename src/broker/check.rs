//! What must be true of a packet before the codec may see it. The codec believes lengths inside
//! property blocks, skips reserved bits and panics on packets that clients never send; what passes
//! here it decodes rightly.

use super::fields::{Fields, Properties, Value};
use super::reason::Reason;
use super::wire::Version;

const CONNECT: &[u8] = &[17, 21, 22, 23, 25, 33, 34, 38, 39];
const WILL: &[u8] = &[1, 2, 3, 8, 9, 24, 38];
const SUBSCRIBE: &[u8] = &[11, 38];
const UNSUBSCRIBE: &[u8] = &[38];

/// Most filters of one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS_MAX: usize = 1024;

/// Checks a CONNECT after its protocol name and level.
pub(super) fn connect(body: &[u8], version: Version) -> Result<(), Reason> {
    let mut fields = Fields::new(body);
    fields.text()?;
    fields.byte()?;
    let flags = fields.byte()?;
    let (will, qos, retain) = (flags & 0x04 != 0, (flags >> 3) & 0b11, flags & 0x20 != 0);
    if flags & 0x01 != 0 || qos == 3 || (!will && (qos != 0 || retain)) {
        return Err(Reason::MALFORMED);
    }
    let (user, password) = (flags & 0x80 != 0, flags & 0x40 != 0);
    if version == Version::V4 && password && !user {
        return Err(Reason::MALFORMED);
    }
    fields.short()?;
    if version == Version::V5 {
        connect_properties(fields.properties(CONNECT)?)?;
    }
    fields.text()?;
    if will {
        if version == Version::V5 {
            all(fields.properties(WILL)?)?;
        }
        fields.text()?;
        fields.binary()?;
    }
    if user {
        fields.text()?;
    }
    if password {
        // The standard allows any bytes, a token is text: others cannot be right credentials.
        let password = fields.binary()?;
        std::str::from_utf8(password).map_err(|_| Reason::CREDENTIALS)?;
    }
    if fields.is_empty() { Ok(()) } else { Err(Reason::MALFORMED) }
}

/// Checks a SUBSCRIBE.
pub(super) fn subscribe(body: &[u8], version: Version) -> Result<(), Reason> {
    let mut fields = Fields::new(body);
    fields.packet_id()?;
    if version == Version::V5 {
        let mut properties = fields.properties(SUBSCRIBE)?;
        while let Some((id, _)) = properties.next()? {
            if id == 11 {
                return Err(Reason::SUBSCRIPTION_IDS);
            }
        }
    }
    let reserved = if version == Version::V5 { 0b1100_0000 } else { 0b1111_1100 };
    filters(fields, |fields| {
        let options = fields.byte()?;
        if options & reserved != 0 || options & 0b11 == 3 || (options >> 4) & 0b11 == 3 {
            return Err(Reason::MALFORMED);
        }
        Ok(())
    })
}

/// Checks an UNSUBSCRIBE.
pub(super) fn unsubscribe(body: &[u8], version: Version) -> Result<(), Reason> {
    let mut fields = Fields::new(body);
    fields.packet_id()?;
    if version == Version::V5 {
        all(fields.properties(UNSUBSCRIBE)?)?;
    }
    filters(fields, |_| Ok(()))
}

fn filters(
    mut fields: Fields<'_>,
    options: impl Fn(&mut Fields<'_>) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let mut count = 0;
    while !fields.is_empty() {
        fields.text()?;
        options(&mut fields)?;
        count += 1;
        if count > FILTERS_MAX {
            return Err(Reason::QUOTA);
        }
    }
    if count == 0 { Err(Reason::PROTOCOL) } else { Ok(()) }
}

fn connect_properties(mut properties: Properties<'_>) -> Result<(), Reason> {
    while let Some(property) = properties.next()? {
        match property {
            (21 | 22, _) => return Err(Reason::AUTHENTICATION_METHOD),
            (23 | 25, Value::Byte(2..)) => return Err(Reason::PROTOCOL),
            (33, Value::Short(0)) | (39, Value::Long(0)) => return Err(Reason::PROTOCOL),
            _ => {}
        }
    }
    Ok(())
}

fn all(mut properties: Properties<'_>) -> Result<(), Reason> {
    while let Some((id, value)) = properties.next()? {
        if id == 1 && !matches!(value, Value::Byte(0 | 1)) {
            return Err(Reason::PROTOCOL);
        }
    }
    Ok(())
}

//! The fields that MQTT packets are made of, read with every length checked. A reader never looks
//! beyond the slice it was given and never panics.

use super::reason::Reason;

/// Most user properties of one packet.
const USER_PROPERTIES_MAX: usize = 512;

/// Reads fields off the front of a packet.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

/// One property of MQTT 5 (section 2.2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Byte(u8),
    Short(u16),
    Long(u32),
    Variable(usize),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// The properties of a packet: only those the packet may have, each at most once unless it is a
/// user property.
#[derive(Debug)]
pub(super) struct Properties<'a> {
    fields: Fields<'a>,
    allowed: &'static [u8],
    seen: u64,
    users: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Reason::MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, Reason> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, Reason> {
        self.array().map(u32::from_be_bytes)
    }

    /// A packet identifier, which is never 0.
    pub(super) fn packet_id(&mut self) -> Result<u16, Reason> {
        match self.short()? {
            0 => Err(Reason::PROTOCOL),
            id => Ok(id),
        }
    }

    /// A variable byte integer.
    pub(super) fn variable(&mut self) -> Result<usize, Reason> {
        match variable(self.0)? {
            Some((value, length)) => self.take(length).map(|_| value),
            None => Err(Reason::MALFORMED),
        }
    }

    /// Binary data with its length before it.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let length = self.short()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 string without U+0000.
    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Reason::MALFORMED)?;
        if text.contains('\0') { Err(Reason::MALFORMED) } else { Ok(text) }
    }

    /// The property block that begins here.
    pub(super) fn properties(&mut self, allowed: &'static [u8]) -> Result<Properties<'a>, Reason> {
        let length = self.variable()?;
        let fields = Self(self.take(length)?);
        Ok(Properties { fields, allowed, seen: 0, users: 0 })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Reason::MALFORMED)?;
        self.0 = rest;
        Ok(*taken)
    }
}

impl<'a> Properties<'a> {
    /// The next property and its identifier.
    pub(super) fn next(&mut self) -> Result<Option<(u8, Value<'a>)>, Reason> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let id = self.fields.byte()?;
        if !self.allowed.contains(&id) {
            return Err(Reason::MALFORMED);
        }
        self.count(id)?;
        let fields = &mut self.fields;
        let value = match id {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Value::Byte(fields.byte()?),
            19 | 33 | 34 | 35 => Value::Short(fields.short()?),
            2 | 17 | 24 | 39 => Value::Long(fields.long()?),
            11 => Value::Variable(fields.variable()?),
            9 | 22 => Value::Binary(fields.binary()?),
            38 => Value::Pair(fields.text()?, fields.text()?),
            3 | 8 | 18 | 21 | 26 | 28 | 31 => Value::Text(fields.text()?),
            _ => return Err(Reason::MALFORMED),
        };
        Ok(Some((id, value)))
    }

    fn count(&mut self, id: u8) -> Result<(), Reason> {
        if id == 38 {
            self.users += 1;
            return if self.users > USER_PROPERTIES_MAX { Err(Reason::QUOTA) } else { Ok(()) };
        }
        let bit = 1u64.checked_shl(u32::from(id)).ok_or(Reason::MALFORMED)?;
        if self.seen & bit != 0 {
            return Err(Reason::PROTOCOL);
        }
        self.seen |= bit;
        Ok(())
    }
}

/// Reads a variable byte integer: its value and how many bytes it takes. `None`: it goes on
/// beyond what is there.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Reason> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Reason::MALFORMED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_byte_integer_reads_as_the_standard_says() {
        let check = |bytes: &[u8], expected| assert_eq!(variable(bytes), expected, "{bytes:?}");
        check(&[], Ok(None));
        check(&[0x80], Ok(None));
        check(&[0], Ok(Some((0, 1))));
        check(&[0x80, 0x01, 9], Ok(Some((128, 2))));
        check(&[0xFF, 0xFF, 0xFF, 0x7F], Ok(Some((268_435_455, 4))));
        check(&[0xFF, 0xFF, 0xFF, 0xFF], Err(Reason::MALFORMED));
    }

    #[test]
    fn properties_stay_inside_their_block() {
        let all = |bytes: &[u8]| {
            let mut fields = Fields::new(bytes);
            let mut properties = fields.properties(&[1, 3, 38])?;
            let mut ids = Vec::new();
            while let Some((id, _)) = properties.next()? {
                ids.push(id);
            }
            Ok(ids)
        };
        let check = |bytes: &[u8], expected| assert_eq!(all(bytes), expected, "{bytes:?}");
        check(&[0], Ok(vec![]));
        check(&[2, 1, 1], Ok(vec![1]));
        check(&[4, 3, 0, 1, b'a'], Ok(vec![3]));
        check(&[4, 3, 0, 2, b'a', b'b'], Err(Reason::MALFORMED));
        check(&[9, 1, 1], Err(Reason::MALFORMED));
        check(&[4, 1, 1, 1, 1], Err(Reason::PROTOCOL));
        check(&[3, 35, 0, 1], Err(Reason::MALFORMED));
        check(&[4, 3, 0, 1, 0], Err(Reason::MALFORMED));
        check(&[4, 3, 0, 1, 0xFF], Err(Reason::MALFORMED));
        check(&[12, 38, 0, 0, 0, 0, 38, 0, 0, 0, 1, b'x', 1], Err(Reason::MALFORMED));
        check(&[10, 38, 0, 0, 0, 0, 38, 0, 0, 0, 0], Ok(vec![38, 38]));
    }
}

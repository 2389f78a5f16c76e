//! The address guard: which addresses an outbound connection may go to. Judged on the address that
//! is connected to, literal or resolved, each time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the operator allows.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Private ranges that may be reached.
    pub allow: Vec<IpNet>,
    /// Whether loopback may be reached (`--dev`).
    pub loopback: bool,
    /// The hub's own listeners, never to be reached.
    pub own: Vec<SocketAddr>,
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 127.0.0.0/8 or ::1.
    #[error("loopback addresses are refused")]
    Loopback,
    /// Private, shared or unique local, and not in `net.allow`.
    #[error("private addresses are refused unless net.allow lists their range")]
    Private,
    /// Link-local, unspecified, multicast, reserved, documentation, tunnel or cloud metadata.
    #[error("link-local, metadata, multicast and reserved addresses are refused")]
    Special,
    /// One of the hub's own listeners.
    #[error("the hub does not connect to its own listeners")]
    Own,
}

const PRIVATE_V4: [Ipv4Net; 4] = [
    net4([10, 0, 0, 0], 8),
    net4([172, 16, 0, 0], 12),
    net4([192, 168, 0, 0], 16),
    net4([100, 64, 0, 0], 10),
];

const SPECIAL_V4: [Ipv4Net; 10] = [
    net4([0, 0, 0, 0], 8),
    net4([100, 100, 100, 200], 32),
    net4([169, 254, 0, 0], 16),
    net4([192, 0, 0, 0], 24),
    net4([192, 0, 2, 0], 24),
    net4([198, 18, 0, 0], 15),
    net4([198, 51, 100, 0], 24),
    net4([203, 0, 113, 0], 24),
    net4([224, 0, 0, 0], 4),
    net4([240, 0, 0, 0], 4),
];

const SPECIAL_V6: [Ipv6Net; 7] = [
    net6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    net6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    net6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    net6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    net6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    net6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    net6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Prefixes whose last or middle 32 bits are an IPv4 address: (network, first byte of the address).
const EMBEDDING_V6: [(Ipv6Net, usize); 4] = [
    (net6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), 12),
    (net6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), 12),
    (net6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), 2),
    (net6([0, 0, 0, 0, 0, 0, 0, 0], 96), 12),
];

impl Guard {
    /// Judges the address and port that a connection is about to go to.
    pub fn judge(&self, target: SocketAddr) -> Result<(), Refusal> {
        let ip = target.ip().to_canonical();
        let is_own =
            |own: &SocketAddr| own.port() == target.port() && own.ip().to_canonical() == ip;
        if self.own.iter().any(is_own) {
            return Err(Refusal::Own);
        }
        self.judge_ip(ip)
    }

    /// Judges a connection that turned out to go to this machine itself, on one of its addresses:
    /// a listener on all addresses is reached by any of them.
    pub fn judge_self(&self, port: u16) -> Result<(), Refusal> {
        let is_own = |own: &SocketAddr| own.port() == port && own.ip().is_unspecified();
        if self.own.iter().any(is_own) { Err(Refusal::Own) } else { Ok(()) }
    }

    fn judge_ip(&self, ip: IpAddr) -> Result<(), Refusal> {
        if ip.is_loopback() {
            return if self.loopback { Ok(()) } else { Err(Refusal::Loopback) };
        }
        let private = match ip {
            IpAddr::V4(v4) if contains(&SPECIAL_V4, v4) => return Err(Refusal::Special),
            IpAddr::V4(v4) => contains(&PRIVATE_V4, v4),
            IpAddr::V6(v6) if SPECIAL_V6.iter().any(|net| net.contains(&v6)) => {
                return Err(Refusal::Special);
            }
            IpAddr::V6(v6) => {
                if let Some(inner) = embedded(v6) {
                    return self.judge_ip(IpAddr::V4(inner));
                }
                v6.is_unique_local() || v6.segments()[0] & 0xffc0 == 0xfec0
            }
        };
        if private && !self.allow.iter().any(|net| net.contains(&ip)) {
            return Err(Refusal::Private);
        }
        Ok(())
    }
}

fn contains(nets: &[Ipv4Net], ip: Ipv4Addr) -> bool {
    nets.iter().any(|net| net.contains(&ip))
}

fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (_, start) = EMBEDDING_V6.iter().find(|(net, _)| net.contains(&ip))?;
    let octets = ip.octets();
    Some(Ipv4Addr::new(octets[*start], octets[start + 1], octets[start + 2], octets[start + 3]))
}

const fn net4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), prefix)
}

const fn net6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_refuses_what_must_not_be_reached() {
        let guard = Guard {
            allow: vec!["10.0.0.0/8".parse().expect("net"), "fd00::/8".parse().expect("net")],
            loopback: false,
            own: vec![
                "0.0.0.0:8080".parse().expect("address"),
                "10.1.2.3:1883".parse().expect("address"),
            ],
        };
        let check = |ip: &str, expected: Result<(), Refusal>| {
            let target = SocketAddr::new(ip.parse().expect(ip), 80);
            assert_eq!(guard.judge(target), expected, "{ip}");
        };
        for public in
            ["93.184.216.34", "2606:2800:220:1::1", "10.1.2.3", "fd12::1", "::ffff:10.1.2.3"]
        {
            check(public, Ok(()));
        }
        for loopback in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            check(loopback, Err(Refusal::Loopback));
        }
        for private in ["192.168.1.1", "172.16.0.1", "100.64.0.1", "::ffff:192.168.1.1", "fec0::1"]
        {
            check(private, Err(Refusal::Private));
        }
        for special in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "ff02::1",
            "2001::1",
        ] {
            check(special, Err(Refusal::Special));
        }
        let judge = |target: &str| guard.judge(target.parse().expect("address"));
        assert_eq!(judge("10.1.2.3:1883"), Err(Refusal::Own));
        assert_eq!(judge("10.9.9.9:8080"), Ok(()), "another machine's port");
        assert_eq!(guard.judge_self(8080), Err(Refusal::Own));
        assert_eq!(guard.judge_self(8081), Ok(()));
        let dev = Guard { loopback: true, ..Guard::default() };
        assert_eq!(dev.judge("127.0.0.1:80".parse().expect("address")), Ok(()));
    }
}

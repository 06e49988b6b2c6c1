//! Which addresses may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use super::FetchError;

/// Something that may be called though it is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every address in a network.
    Net(IpNet),
    /// One host, at one port or all.
    Host(String, Option<u16>),
}

/// Reads `10.0.0.0/8`, `10.1.2.3`, `localhost:9000` or `printer.lan`.
///
/// # Errors
/// A sentence that says what can be written.
pub fn parse_allowed(text: &str) -> Result<Allowed, String> {
    let text = text.trim();
    let teach = || format!("`{text}` is neither a network such as `10.0.0.0/8` nor a host such as `localhost:9000`");
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(Allowed::Net(net.trunc()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Allowed::Net(address.into()));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| teach())?)),
        None => (text, None),
    };
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let clean = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || "-._:".contains(c));
    match clean {
        true => Ok(Allowed::Host(host, port)),
        false => Err(teach()),
    }
}

/// The rules.
#[derive(Debug)]
pub struct Guard {
    /// What is allowed besides public addresses.
    pub allowed: Vec<Allowed>,
    /// Ports that we listen on.
    pub own_ports: Vec<u16>,
}

impl Guard {
    /// What can be said about an address by its text. Gives whether its host is a literal address,
    /// and whether its port is one of ours.
    pub fn look(&self, url: &Url) -> Result<(bool, bool), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Refused(format!("`{}:` is not called, only http: and https:", url.scheme())));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let own = self.own_ports.contains(&port);
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => {
                // A name that is allowed for one port is not allowed for the others.
                let named = self.hosts(name);
                if !named.clone().any(|allowed| allowed.is_none_or(|allowed| allowed == port))
                    && named.clone().next().is_some()
                {
                    return Err(private(&format!("{name}:{port}")));
                }
                return Ok((false, own));
            }
            None => return Err(FetchError::Refused("an address without a host is not called".into())),
        };
        if own && !is_public(literal) {
            return Err(own_port(url));
        }
        let text = literal.to_string();
        let by_host = self.hosts(&text).any(|allowed| allowed.is_none_or(|allowed| allowed == port));
        match by_host || self.in_net(literal) || is_public(literal) {
            true => Ok((true, own)),
            false => Err(private(&text)),
        }
    }

    /// The ports at which a host is allowed.
    fn hosts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Option<u16>> + Clone + 'a {
        self.allowed.iter().filter_map(move |allowed| match allowed {
            Allowed::Host(host, port) if host.eq_ignore_ascii_case(name) => Some(*port),
            _ => None,
        })
    }

    fn in_net(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|allowed| matches!(allowed, Allowed::Net(net) if net.contains(&address)))
    }

    /// Whether a name may be called at the address that it has now.
    pub fn may_call(&self, name: &str, address: IpAddr) -> bool {
        is_public(address) || self.in_net(address) || self.hosts(name).next().is_some()
    }
}

pub fn private(what: &str) -> FetchError {
    FetchError::Refused(format!(
        "`{what}` is not a public address; if it may be called, add it to `http: {{ allow: [...] }}` in postrider.yaml"
    ))
}

pub fn own_port(url: &Url) -> FetchError {
    FetchError::Refused(format!("{} leads back to Postrider, which never calls itself", super::server(url)))
}

/// Whether an address is one of the open internet, also behind the forms in which IPv6 hides those
/// of IPv4.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the registry of special-purpose addresses (RFC 6890 and its successors).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inside) = address.to_ipv4() {
        // Mapped and compatible forms; `::` and `::1` are among the latter.
        return is_public_v4(inside);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match (a, b) {
        // NAT64 (RFC 6052), and its local prefix (RFC 8215).
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => is_public_v4(v4(g, h)),
        (0x64, 0xff9b) => false,
        // 6to4.
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Teredo, benchmarks, documentation.
        (0x2001, 0 | 2 | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Only 2000::/3 is handed out.
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let allowed = allowed.iter().map(|text| parse_allowed(text).unwrap()).collect();
        Guard { allowed, own_ports: vec![8700] }
    }

    fn looked(guard: &Guard, url: &str) -> bool {
        guard.look(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn only_the_open_internet_is_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_where_it_says() {
        let guard = guard(&["10.0.0.0/8", "localhost:9000", "192.168.1.5", "[::1]:9001"]);
        assert!(looked(&guard, "http://10.9.8.7/x") && looked(&guard, "http://192.168.1.5/"));
        assert!(!looked(&guard, "http://192.168.1.6/") && !looked(&guard, "http://127.0.0.1:9000/"));
        assert!(looked(&guard, "http://localhost:9000/") && !looked(&guard, "http://localhost:9002/"));
        assert!(looked(&guard, "http://[::1]:9001/") && !looked(&guard, "http://[::1]:9002/"));
        assert!(guard.may_call("localhost", "127.0.0.1".parse().unwrap()));
        assert!(!guard.may_call("evil.example", "127.0.0.1".parse().unwrap()));
        // Other ways to write 127.0.0.1, which URLs allow.
        for other in ["http://2130706433/", "http://0x7f.1/", "http://017700000001/", "http://127.1/"] {
            assert!(!looked(&guard, other), "{other}");
        }
        assert!(!looked(&guard, "file:///etc/passwd"));
    }

    #[test]
    fn our_own_ports_are_never_called() {
        let guard = guard(&["127.0.0.0/8", "localhost"]);
        assert!(looked(&guard, "http://127.0.0.1:9000/") && !looked(&guard, "http://127.0.0.1:8700/"));
    }
}

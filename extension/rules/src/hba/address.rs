//! Addresses as the server reads them: whatever the C library takes for a number is one, in the old forms too, and all
//! else is a host name without a word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lex::Token;
use super::problem::{Field, Problem};

/// From where a connection comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `all`.
    All,
    /// `samehost`: an address of the server itself.
    SameHost,
    /// `samenet`: an address of a network that the server is in.
    SameNet,
    /// An address and a mask of its family, which may have gaps.
    Net {
        /// As written: bits beyond the mask may be set.
        ip: IpAddr,
        /// The mask.
        mask: IpAddr,
    },
    /// A host name, or `.suffix`; a misspelt address is one too.
    Name(Vec<u8>),
}

/// What the address field alone says.
#[derive(Debug)]
pub(super) enum Start {
    /// All there is to say.
    Whole(Address),
    /// An address whose mask is the next field.
    NeedsMask(IpAddr),
}

impl Address {
    /// The address as `pg_hba_file_rules` shows it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::SameHost => "samehost".to_owned(),
            Self::SameNet => "samenet".to_owned(),
            Self::Net { ip, .. } => shown(*ip),
            Self::Name(name) => String::from_utf8_lossy(name).into_owned(),
        }
    }

    /// The mask as `pg_hba_file_rules` shows it; none where there is no address.
    #[must_use]
    pub fn mask(&self) -> Option<String> {
        match self {
            Self::Net { mask, .. } => Some(shown(*mask)),
            _ => None,
        }
    }
}

/// Reads the address field.
pub(super) fn start(token: &Token) -> Result<Start, Problem> {
    for (keyword, address) in [("all", Address::All), ("samehost", Address::SameHost), ("samenet", Address::SameNet)] {
        if token.is(keyword) {
            return Ok(Start::Whole(address));
        }
    }
    let slash = token.text.iter().position(|byte| *byte == b'/');
    let ip = numeric(&token.text[..slash.unwrap_or(token.text.len())]);
    match (ip, slash) {
        (Some(ip), None) => Ok(Start::NeedsMask(ip)),
        (None, None) => Ok(Start::Whole(Address::Name(token.text.clone()))),
        (None, Some(_)) => Err(Problem::new(
            Field::Address,
            format!("{:?} is no address, and a host name takes no mask", token.text()),
            "correct the address, or leave out what begins with the slash if it is a host name",
        )),
        (Some(ip), Some(slash)) => match bits(&token.text[slash + 1..], width(ip)) {
            Some(bits) => Ok(Start::Whole(Address::Net { ip, mask: prefix(ip, bits) })),
            None => Err(Problem::new(
                Field::Address,
                format!("{:?} has an invalid number of bits after the slash", token.text()),
                format!("write a number from 0 to {}", width(ip)),
            )),
        },
    }
}

/// Reads a mask in a field of its own.
pub(super) fn with_mask(ip: IpAddr, token: &Token) -> Result<Address, Problem> {
    let Some(mask) = numeric(&token.text) else {
        return Err(Problem::new(
            Field::Mask,
            format!("{:?} is no mask", token.text()),
            format!("write the address as {}/{}, or put a mask behind it", shown(ip), width(ip)),
        ));
    };
    if ip.is_ipv4() != mask.is_ipv4() {
        return Err(Problem::new(
            Field::Mask,
            "address and mask are not of the same family",
            "write both in IPv4 or both in IPv6, or write the address with /bits",
        ));
    }
    Ok(Address::Net { ip, mask })
}

/// The bits of an address of this family.
pub(super) fn width(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The mask of the first bits, of the family of an address.
pub(super) fn prefix(ip: IpAddr, bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into(),
    }
}

/// An address as one number, those of IPv4 in the upper bits, so that masks compare.
pub(super) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// What getaddrinfo takes for a numeric address (`AI_NUMERICHOST`, glibc).
pub(super) fn numeric(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.contains(':') {
        return old_ipv4(text).map(IpAddr::V4);
    }
    let Some((address, scope)) = text.split_once('%') else {
        return text.parse().ok().map(IpAddr::V6);
    };
    let ip: Ipv6Addr = address.parse().ok()?;
    // The name of an interface is only known on the machine; where one can be meant it is taken for one.
    let local = ip.is_unicast_link_local() || ip.segments()[0] & 0xff0f == 0xff02;
    let number = scope.bytes().all(|byte| byte.is_ascii_digit()) && scope.parse::<u32>().is_ok();
    (!scope.is_empty() && (local || number)).then_some(IpAddr::V6(ip))
}

/// inet_aton: one to four numbers, decimal, octal or hexadecimal, the last filling all the bytes that are left.
fn old_ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(c_number).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) || *last >= 1 << (8 * (4 - bytes.len())) {
        return None;
    }
    let upper = bytes.iter().zip([24, 16, 8]).fold(0, |sum, (byte, shift)| sum | (byte << shift));
    u32::try_from(upper | last).ok().map(Ipv4Addr::from_bits)
}

fn c_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // from_str_radix takes a sign, which stands for nothing here.
    digits.bytes().next().filter(u8::is_ascii_hexdigit)?;
    u64::from_str_radix(digits, radix).ok()
}

/// The number after a slash as strtol reads it: white space and a sign may precede it, leading zeros say nothing.
fn bits(text: &[u8], width: u32) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (minus, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let bits: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    (bits <= width && !(minus && bits > 0)).then_some(bits)
}

/// As inet_ntop writes it: the last four bytes of what may be an embedded IPv4 address with dots.
pub(super) fn shown(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0; 6] && v6.segments()[6] != 0 => {
            format!("::{}", Ipv4Addr::from_bits((v6.to_bits() & u128::from(u32::MAX)) as u32))
        }
        ip => ip.to_string(),
    }
}

//! The shared secret of a cluster's gates: who does not know it can neither ask nor answer.
//!
//! What is signed says whether it is an ask or an answer, and an answer is bound to the nonce of its ask, so that none
//! can be used for another.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Header of an ask: 16 random bytes as hex.
pub const NONCE: &str = "goahead-nonce";
/// Header of asks and answers: HMAC-SHA256 as hex.
pub const SIGNATURE: &str = "goahead-signature";
/// The longest file of a secret, in bytes.
const LONGEST: usize = 4096;
/// The shortest secret, in bytes.
const SHORTEST: usize = 16;

/// A secret; never shown.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads it from a file; blanks and line ends around it are not part of it.
    ///
    /// # Errors
    /// Why it cannot be used, naming the file and never its content.
    pub fn read(file: &Path) -> Result<Self, String> {
        let named = |why: &str| format!("secret_file {}: {why}", file.display());
        let bytes = std::fs::read(file).map_err(|error| named(&error.to_string()))?;
        let secret = bytes.trim_ascii();
        if secret.len() < SHORTEST || bytes.len() > LONGEST {
            return Err(named("a secret has 16 to 4096 bytes; make one with: openssl rand -hex 32"));
        }
        Ok(Self(secret.to_vec()))
    }

    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("a key of any length will do");
        for part in parts {
            // With its length before it, no part can pass for the beginning of the next.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac
    }

    /// The signature of these parts, as hex.
    pub fn sign(&self, parts: &[&[u8]]) -> String {
        hex(&self.mac(parts).finalize().into_bytes())
    }

    /// Whether `signature` is that of these parts; takes as long whatever it is.
    pub fn verify(&self, parts: &[&[u8]], signature: &str) -> bool {
        unhex(signature).is_some_and(|signature| self.mac(parts).verify_slice(&signature).is_ok())
    }
}

/// A new nonce.
pub fn nonce() -> String {
    hex(&rand::random::<[u8; 16]>())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    digits
        .filter(|digits| digits.len() % 2 == 0)
        .map(|digits| digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_one_text_and_one_secret() {
        let secret = Secret::of("a secret of some length");
        let signature = secret.sign(&[b"ask", b"body"]);
        assert!(secret.verify(&[b"ask", b"body"], &signature));
        assert!(!secret.verify(&[b"answer", b"body"], &signature));
        assert!(!secret.verify(&[b"askb", b"ody"], &signature));
        assert!(!Secret::of("another secret").verify(&[b"ask", b"body"], &signature));
        for bad in ["", "zz", "abc", "ä"] {
            assert!(!secret.verify(&[b"ask", b"body"], bad));
        }
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "hunter2\n").unwrap();
        let why = Secret::read(&file).unwrap_err();
        assert!(why.contains("16 to 4096") && !why.contains("hunter2"), "{why}");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let secret = Secret::read(&file).unwrap();
        assert_eq!(secret.0, b"0123456789abcdef");
        assert!(!format!("{secret:?}").contains("0123"));
    }
}

//! Where a program's output goes: the end of it into a bounded buffer, or all of it, line by line, to a callback.

/// The longest line given to a callback in one piece, in bytes.
const LINE: usize = 4096;

/// Takes output as it comes.
pub(super) trait Sink {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
}

/// Keeps the last bytes.
pub(super) struct Tail {
    bytes: Vec<u8>,
    keep: usize,
}

impl Tail {
    /// A buffer that keeps the last `keep` bytes.
    pub(super) fn new(keep: usize) -> Self {
        Self { bytes: Vec::new(), keep }
    }

    /// What was kept, as at most `keep` bytes of text. PostgreSQL's text holds no NUL, so neither does this.
    pub(super) fn into_text(mut self) -> String {
        self.cut();
        // A cut inside a character leaves its continuation bytes at the front.
        let start = self.bytes.iter().take(3).take_while(|byte| (**byte & 0xC0) == 0x80).count();
        let text = text(&self.bytes[start..]);
        // Replacement characters are longer than what they replace.
        let mut start = text.len().saturating_sub(self.keep);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text[start..].to_owned()
    }

    fn cut(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
    }
}

impl Sink for Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Moving the rest to the front only now and then keeps a chatty program cheap.
        if self.bytes.len() > 2 * self.keep + LINE {
            self.cut();
        }
    }
}

/// Gives lines to a callback.
pub(super) struct Lines<F: FnMut(&str)> {
    pending: Vec<u8>,
    line: F,
}

impl<F: FnMut(&str)> Lines<F> {
    /// Gives each line to `line`.
    pub(super) fn new(line: F) -> Self {
        Self { pending: Vec::new(), line }
    }

    /// Gives what came after the last line end.
    pub(super) fn finish(mut self) {
        if !self.pending.is_empty() {
            (self.line)(&text(&self.pending));
        }
    }
}

impl<F: FnMut(&str)> Sink for Lines<F> {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                let end = self.pending.strip_suffix(b"\r").unwrap_or(&self.pending);
                (self.line)(&text(end));
                self.pending.clear();
                continue;
            }
            self.pending.push(byte);
            // A piece ends before the beginning of a character, so that none is cut in two; what is no text is cut anyway.
            let begins = (byte & 0xC0) != 0x80;
            if self.pending.len() > LINE && begins {
                (self.line)(&text(&self.pending[..self.pending.len() - 1]));
                self.pending = vec![byte];
            } else if self.pending.len() >= LINE + 4 {
                (self.line)(&text(&self.pending));
                self.pending.clear();
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{FFFD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(keep: usize, pieces: &[&[u8]]) -> String {
        let mut tail = Tail::new(keep);
        for piece in pieces {
            tail.take(piece);
        }
        tail.into_text()
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail(4, &[b"abc", b"def"]), "cdef");
        assert_eq!(tail(4, &[&[b'x'; 100_000], b"end"]), "xend");
        assert_eq!(tail(4, &[]), "");
    }

    #[test]
    fn the_tail_is_text_within_its_bound() {
        assert_eq!(tail(3, &["aää".as_bytes()]), "ä", "a cut character is left out whole");
        assert_eq!(tail(100, &[b"a\0b"]), "a\u{FFFD}b");
        assert!(tail(10, &[&[0xFF; 50]]).len() <= 10);
    }

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|line: &str| seen.push(line.to_owned()));
        for piece in pieces {
            lines.take(piece);
        }
        lines.finish();
        seen
    }

    #[test]
    fn lines_are_whole_whatever_the_pieces() {
        assert_eq!(lines(&[b"on", b"e\r\ntw", b"o\n\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(lines(&[b"one\n"]), ["one"]);
    }

    #[test]
    fn an_endless_line_arrives_in_pieces_that_cut_no_character() {
        let text = "ä".repeat(5000);
        let seen = lines(&[text.as_bytes()]);
        assert!(seen.len() > 1 && seen.iter().all(|piece| piece.len() <= LINE + 4), "{seen:?}");
        assert_eq!(seen.concat(), text);
        let binary = lines(&[&[0x80; 20_000]]);
        assert!(binary.iter().all(|piece| piece.len() <= 3 * (LINE + 4)), "bounded whatever the bytes");
    }
}

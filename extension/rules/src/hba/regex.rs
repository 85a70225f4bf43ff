//! Whether the server compiles a regular expression, as far as that can be told for sure.
//!
//! It has its own dialect (Henry Spencer's). Only what it certainly refuses is refused here: a wrong refusal would keep
//! the whole file from being managed, while a wrong acceptance is found by the server before it reloads.

/// The largest number in a bound.
const MAX_BOUND: u32 = 255;

/// Judges an expression without its slash.
///
/// # Errors
/// What is wrong, in the server's words.
pub(super) fn check(expression: &[u8]) -> Result<(), &'static str> {
    let mut rest = expression;
    if let Some(directed) = rest.strip_prefix(b"***") {
        match directed.first() {
            Some(b'=') => return Ok(()),
            Some(b':') => rest = &directed[1..],
            _ => return Err("quantifier operand invalid"),
        }
    }
    // Options in front can change the syntax altogether.
    if rest.len() > 2 && rest.starts_with(b"(?") && rest[2].is_ascii_alphabetic() {
        return Ok(());
    }
    Walk { rest, depth: 0, atom: false }.all()
}

struct Walk<'a> {
    rest: &'a [u8],
    depth: usize,
    /// Whether there is something that a quantifier can follow.
    atom: bool,
}

impl Walk<'_> {
    fn all(mut self) -> Result<(), &'static str> {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'\\' => {
                    self.rest = rest.get(1..).ok_or("invalid escape \\ sequence")?;
                    self.atom = true;
                }
                b'[' => {
                    self.rest = after_bracket(rest).ok_or("brackets [] not balanced")?;
                    self.atom = true;
                }
                b'(' => self.open()?,
                b')' => {
                    self.depth = self.depth.checked_sub(1).ok_or("parentheses () not balanced")?;
                    self.atom = true;
                }
                b'|' | b'^' => self.atom = false,
                b'*' | b'+' | b'?' => self.quantifier()?,
                b'{' if rest.first().is_some_and(u8::is_ascii_digit) => {
                    self.rest = after_bound(rest)?;
                    self.quantifier()?;
                }
                _ => self.atom = true,
            }
        }
        if self.depth == 0 { Ok(()) } else { Err("parentheses () not balanced") }
    }

    fn open(&mut self) -> Result<(), &'static str> {
        if let Some(comment) = self.rest.strip_prefix(b"?#") {
            let end = comment.iter().position(|byte| *byte == b')').ok_or("parentheses () not balanced")?;
            self.rest = &comment[end + 1..];
            return Ok(());
        }
        for special in [&b"?:"[..], b"?=", b"?!", b"?<=", b"?<!"] {
            if let Some(rest) = self.rest.strip_prefix(special) {
                self.rest = rest;
                break;
            }
        }
        self.depth += 1;
        self.atom = false;
        Ok(())
    }

    fn quantifier(&mut self) -> Result<(), &'static str> {
        if !self.atom {
            return Err("quantifier operand invalid");
        }
        // A question mark behind one makes it a lazy one.
        if let Some(rest) = self.rest.strip_prefix(b"?") {
            self.rest = rest;
        }
        self.atom = false;
        Ok(())
    }
}

/// What follows a bracket expression whose first bracket has been read.
fn after_bracket(text: &[u8]) -> Option<&[u8]> {
    let mut at = usize::from(text.first() == Some(&b'^'));
    let first = at;
    loop {
        match text.get(at)? {
            b']' if at > first => return Some(&text[at + 1..]),
            b'\\' => at += 2,
            b'[' if matches!(text.get(at + 1), Some(b':' | b'.' | b'=')) => {
                let end = [text[at + 1], b']'];
                at += 2;
                at += text.get(at..)?.windows(2).position(|two| two == end)? + 2;
            }
            _ => at += 1,
        }
    }
}

/// What follows a bound whose brace has been read.
fn after_bound(text: &[u8]) -> Result<&[u8], &'static str> {
    const WRONG: &str = "invalid repetition count(s)";
    let end = text.iter().position(|byte| *byte == b'}').ok_or("braces {} not balanced")?;
    let bound = std::str::from_utf8(&text[..end]).map_err(|_| WRONG)?;
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number <= MAX_BOUND).ok_or(WRONG);
    match bound.split_once(',') {
        None => drop(number(bound)?),
        Some((low, "")) => drop(number(low)?),
        Some((low, high)) if number(low)? <= number(high)? => {}
        Some(_) => return Err(WRONG),
    }
    Ok(&text[end + 1..])
}

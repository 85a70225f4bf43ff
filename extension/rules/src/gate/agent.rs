//! Words for HAProxy's agent-check (configuration.txt, `agent-check`).

/// What an agent says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agent<'a> {
    /// The door is open.
    Up,
    /// The door is closed, and why.
    Down(&'a str),
}

/// Longer reasons are cut: HAProxy reads a line into a small buffer.
const LONGEST: usize = 120;

/// The line for HAProxy, newline included. HAProxy takes the `#` only at the beginning of a word, and ignores a line
/// with any word that it does not know. `ready`, `drain` and `maint` are never said: they are the state that HAProxy's
/// own administrator sets, and would end a maintenance of theirs.
pub fn agent_check(agent: Agent<'_>) -> String {
    match agent {
        Agent::Up => "up\n".to_owned(),
        Agent::Down(why) => format!("down #{}\n", one_line(why)),
    }
}

/// What follows `#` goes to the end of the line.
fn one_line(why: &str) -> String {
    let line: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(char::is_ascii).collect();
    line.chars().take(LONGEST).collect::<String>().trim().to_owned()
}

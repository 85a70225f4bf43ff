//! Words for HAProxy's agent-check (configuration.txt, `agent-check`).

/// What an agent says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agent<'a> {
    /// The door is open.
    Up,
    /// The door is closed, and why.
    Down(&'a str),
    /// Sessions may end, new ones go elsewhere.
    Drain,
    /// An operator took the server out.
    Maintenance,
}

/// Longer reasons are cut: HAProxy reads a line into a small buffer.
const LONGEST: usize = 120;

/// The line for HAProxy, newline included. `up ready` also ends an earlier `drain` or `maint`; until then such a server
/// stays out, which is right for one that is closed.
pub fn agent_check(agent: Agent<'_>) -> String {
    match agent {
        Agent::Up => "up ready\n".to_owned(),
        Agent::Drain => "drain\n".to_owned(),
        Agent::Maintenance => "maint\n".to_owned(),
        Agent::Down(why) => format!("down#{}\n", one_line(why)),
    }
}

/// A comma, a space or a tab would end the word for some versions: what follows `#` goes to the end of the line.
fn one_line(why: &str) -> String {
    let line: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(char::is_ascii).collect();
    line.chars().take(LONGEST).collect::<String>().trim().to_owned()
}

//! The binary under test as a command that runs to its end.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::{SOON, binary, eventually};

/// A command under way, killed when the test ends before it.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Starts `goahead COMMAND ARGUMENTS…` without the settings of this environment, with `input` on its standard input.
    pub fn start(command: &str, arguments: &[&str], input: Option<&[u8]>) -> Self {
        let mut process = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GOAHEAD_") {
                process.env_remove(name);
            }
        }
        process.arg(command).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        process.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = process.spawn().expect("the binary starts");
        if let Some(input) = input {
            // One that reads only its beginning is none of this test's failures.
            let _ = child.stdin.take().expect("piped").write_all(input);
        }
        Self(Some(child))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    /// Sees that it is still there a while later.
    pub fn assert_waits(&mut self) {
        std::thread::sleep(Duration::from_millis(300));
        let status = self.child().try_wait().expect("wait");
        assert!(status.is_none(), "it ended with {status:?}");
    }

    /// Waits until it has ended; what it prints must fit a pipe.
    pub fn finish(mut self) -> Output {
        eventually("the command ends", 2 * SOON, || self.child().try_wait().expect("wait"));
        self.0.take().expect("it ran").wait_with_output().expect("wait")
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it runs")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Its exit code; none when a signal ended it.
pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// What it said on standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of its standard output.
pub fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect()
}

//! How a command fails: one line, the causes, a hint, and an exit code.
//!
//! Relies on the gateway's problems for failures of a server. What must stay true: the codes of
//! [`Exit`] are those of `rama --help`, because scripts branch on them.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use rama_gateway::dev;
use rama_gateway::problem::Problem;
use rama_gateway::refusal::Code;
use serde_json::json;

use crate::args::Format;

/// What to do where a token is wanted.
const TOKEN: &str = "show a token with --token-file, RAMA_TOKEN or security.token_file (`rama tokens \
                     create` makes one), or go over QUIC with a certificate";

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did not work.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A named thing does not exist.
    NotFound = 3,
    /// A rule or a safety check forbids it.
    Refused = 4,
    /// No server, or not ready.
    Unreachable = 5,
    /// It may have happened.
    Unknown = 6,
    /// The time of `--timeout` was over.
    Late = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    text: String,
    hint: String,
}

/// What a command comes to.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with what was attempted on what, and what to do.
    pub fn new(exit: Exit, text: impl Display, hint: impl Into<String>) -> Failure {
        Failure {
            exit,
            text: text.to_string(),
            hint: hint.into(),
        }
    }

    /// What a server answered.
    pub fn from_problem(problem: Problem) -> Failure {
        let exit = match problem.code {
            Code::NotFound | Code::UnknownModule => Exit::NotFound,
            Code::Invalid | Code::TooLarge | Code::Method => Exit::Usage,
            Code::Rejected | Code::Unauthorized | Code::Forbidden => Exit::Refused,
            Code::Unavailable | Code::Fenced | Code::Closed | Code::Elsewhere => Exit::Unreachable,
            Code::Unknown => Exit::Unknown,
            Code::Failed | Code::Corrupt | Code::Storage | Code::TooSlow => Exit::Failed,
        };
        let hint = match problem.code {
            Code::Unauthorized => TOKEN.to_owned(),
            _ => problem.hint,
        };
        Failure::new(exit, problem.detail, hint)
    }

    /// Why a server did not start or end well.
    pub fn from_server(failure: dev::Failure) -> Failure {
        let exit = match failure.exit {
            2 => Exit::Usage,
            4 => Exit::Refused,
            _ => Exit::Failed,
        };
        Failure::new(exit, failure.what, failure.hint)
    }

    /// The same, saying where in the input it happened.
    pub fn at(self, place: &str) -> Failure {
        Failure {
            text: format!("{place}: {}", self.text),
            ..self
        }
    }

    /// The same with another hint.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure {
            hint: hint.into(),
            ..self
        }
    }

    /// What happened, in one line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes it to stderr: for people, or as JSON when results are JSON.
    pub fn print(&self, format: Format) {
        if format != Format::Table {
            let body = json!({"error": self.text, "hint": self.hint, "exit": self.exit as u8});
            eprintln!("{body}");
            return;
        }
        let colored = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (red, bold, plain) = if colored {
            ("\x1b[1;31m", "\x1b[1m", "\x1b[0m")
        } else {
            ("", "", "")
        };
        eprintln!("{red}error:{plain} {}", self.text);
        eprintln!("{bold}hint:{plain}  {}", self.hint);
    }
}

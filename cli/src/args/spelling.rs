//! Rama's spelling of every command and flag beside ours: `moduleStatus`, `--replicationFactor`.
//!
//! Relies on clap's own description of the command line. What must stay true: whatever is added to
//! that is accepted in both spellings, without a word about it; help and completions show one.

use clap::Command;

/// Names of the command line live as long as the process.
fn kept(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

/// `command` with a camelCase alias for every name of several words, subcommands included.
pub fn in_both(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let other = arg.get_long().and_then(camel);
        let known = arg.get_all_aliases().unwrap_or_default();
        match other.filter(|other| !known.contains(&other.as_str())) {
            Some(other) => arg.alias(kept(other)),
            None => arg,
        }
    });
    command.mut_subcommands(|command| {
        let command = in_both(command);
        let other = camel(command.get_name());
        let known: Vec<&str> = command.get_all_aliases().collect();
        match other.filter(|other| !known.contains(&other.as_str())) {
            Some(other) => command.alias(kept(other)),
            None => command,
        }
    })
}

/// `module-status` as `moduleStatus`; none for a name that is one word.
pub fn camel(name: &str) -> Option<String> {
    let mut words = name.split('-');
    let mut camel = words.next()?.to_owned();
    for word in words {
        let first = word.chars().next()?;
        camel.extend(first.to_uppercase());
        camel.push_str(&word[first.len_utf8()..]);
    }
    (camel != name).then_some(camel)
}

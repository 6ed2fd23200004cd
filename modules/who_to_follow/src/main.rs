//! The `who_to_follow` module as a program.

use std::process::ExitCode;

use who_to_follow::WhoToFollow;

fn main() -> ExitCode {
    rama::main!(WhoToFollow {
        suggestions: 300,
        accounts_per_tick: 15,
        ticks_by_hand: false,
    })
}

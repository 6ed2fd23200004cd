//! The traps of glommio, each with its guard.

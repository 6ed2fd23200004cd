//! Which paths may be asked for. Pure.
//!
//! Relies on nothing. These rules come before the kernel's own (which resolves below the served
//! directory and follows no link); what must stay true: a path that passes has one meaning, below
//! the directory, whatever lies there.

/// The longest path.
pub const PATH_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;
const PARTS_MAX: usize = 32;

/// Whether `path` may be asked for: parts of letters, digits, `-`, `_`, `.`, `+`, `@`, `=` and
/// `,`, with `/` between them; no part begins with a dot.
///
/// # Errors
/// The rule it breaks.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the path is empty");
    }
    if path.len() > PATH_BYTES_MAX {
        return Err("the path is longer than 1024 bytes");
    }
    for (at, part) in path.split('/').enumerate() {
        if at >= PARTS_MAX {
            return Err("the path has more than 32 parts");
        }
        if part.is_empty() {
            return Err("a part of the path is empty");
        }
        if part.starts_with('.') {
            return Err("a part of the path begins with a dot");
        }
        if part.len() > PART_BYTES_MAX {
            return Err("a part of the path is longer than 255 bytes");
        }
        if !part.bytes().all(allowed) {
            return Err("the path has a character other than letters, digits and -_.+@=,");
        }
    }
    Ok(())
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.+@=,".contains(&byte)
}

//! Tokens that are good, and those that are not any more.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(dir: &tempfile::TempDir) -> TokenFile {
    TokenFile::new(&dir.path().join("tokens.toml"))
}

#[test]
fn a_token_is_told_once_and_only_its_hash_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = file(&dir);
    assert_eq!(file.read().expect("nothing yet"), Vec::new());
    let scopes = [Scope::Append, Scope::Read, Scope::Read];
    let made = file.create("ci", &scopes, Some("Bank"), None);
    let (token, secret) = made.expect("made");
    assert_eq!(token.scopes, [Scope::Read, Scope::Append]);
    assert!(secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 64);
    let text = std::fs::read_to_string(file.path()).expect("written");
    assert!(!text.contains(&secret[PREFIX.len()..]), "{text}");
    let mode = std::fs::metadata(file.path()).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(file.read().expect("one"), [token]);

    let again = file.create("ci", &[Scope::Read], None, None);
    assert!(matches!(again, Err(TokenError::Exists(_))), "{again:?}");
    for name in ["", "a b", &"a".repeat(65)] {
        let made = file.create(name, &[Scope::Read], None, None);
        assert!(matches!(made, Err(TokenError::Name(_))), "{made:?}");
    }
    let unknown = file.revoke("other");
    assert!(
        matches!(unknown, Err(TokenError::Unknown(_))),
        "{unknown:?}"
    );
    assert_eq!(file.revoke("ci").expect("revoked").name, "ci");
    assert_eq!(file.read().expect("none"), Vec::new());
}

#[test]
fn only_who_has_a_secret_in_time_is_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = file(&dir);
    let (_, secret) = file.create("a", &[Scope::Read], None, None).expect("made");
    let made = file.create("b", &[Scope::Append], Some("M"), Some(10));
    let (_, short) = made.expect("made");
    let tokens = file.read().expect("two");
    let grant = find(&tokens, &secret, 0).expect("known");
    assert_eq!((grant.who.as_str(), grant.process), ("token a", false));
    let grant = find(&tokens, &short, 9).expect("known");
    assert_eq!(grant.module.as_deref(), Some("M"));
    assert_eq!(find(&tokens, &short, 10), None, "it has expired");
    for wrong in ["", "rama_", &secret[1..], &tokens[0].sha256] {
        assert_eq!(find(&tokens, wrong, 0), None, "{wrong}");
    }
}

#[test]
fn a_changed_file_counts_and_one_that_cannot_be_used_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = file(&dir);
    let (_, first) = file.create("a", &[Scope::Read], None, None).expect("made");
    let tokens = Tokens::open(file.path()).expect("usable");
    let look = || tokens.look(&mut tokens.known.lock().expect("nobody panicked"));
    assert!(tokens.check(&first).is_some());
    let (_, second) = file.create("b", &[Scope::Read], None, None).expect("made");
    look();
    assert!(tokens.check(&second).is_some());

    // Others may read it: the former tokens stay in force.
    file.revoke("a").expect("revoked");
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o644)).expect("changed");
    look();
    assert!(tokens.check(&first).is_some());
    let exposed = Tokens::open(file.path()).expect_err("exposed");
    assert!(matches!(exposed, TokenError::Exposed { .. }), "{exposed}");
    std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).expect("changed");
    look();
    assert!(tokens.check(&first).is_none(), "it was revoked");

    // Without a file there are no tokens.
    std::fs::remove_file(file.path()).expect("removed");
    look();
    assert!(tokens.check(&second).is_none());
}

#[test]
fn a_file_of_something_else_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = file(&dir);
    for text in [
        "x = 1",
        "[[token]]\nname = \"a\"",
        "[[token]]\nname = \"a\"\nsha256 = \"ab\"\nscopes = []\ncreated_ms = 1",
        "[[token]]\nname = \"a\"\nsha256 = \"ab\"\nscopes = [\"all\"]\ncreated_ms = 1",
    ] {
        std::fs::write(file.path(), text).expect("written");
        std::fs::set_permissions(file.path(), Permissions::from_mode(0o600)).expect("changed");
        let error = file.read().expect_err(text);
        assert!(matches!(error, TokenError::Content { .. }), "{error}");
    }
}

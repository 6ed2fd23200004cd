//! An authority's life: made once, issues, is never replaced; keys that nobody else may read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rama_wire::session::{Role, Roles};
use uuid::Uuid;

use super::*;
use crate::testing::{World, chain, request};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn keys_are_for_their_owner_alone_and_certificates_for_everyone() {
    let world = World::new();
    let paths = world.issue(Role::Worker, Uuid::new_v4());
    assert_eq!(mode(&world.dir.path().join(AUTHORITY_KEY)), 0o600);
    assert_eq!(mode(&world.authority_file()), 0o644);
    assert_eq!((mode(&paths.key), mode(&paths.certificate)), (0o600, 0o644));
}

#[test]
fn an_authority_is_never_replaced() {
    let world = World::new();
    let again = CertificateAuthority::create(world.dir.path(), Uuid::new_v4(), 10);
    assert!(matches!(again, Err(CertificateError::Exists(_))));
    let opened = CertificateAuthority::open(world.dir.path()).unwrap();
    assert_eq!(opened.cluster(), world.cluster);
    assert_eq!(opened.certificate(), world.authority.certificate());
}

#[test]
fn a_certificate_says_who_its_holder_is() {
    let world = World::new();
    let node = Uuid::new_v4();
    let mut request = request(Role::Supervisor, node);
    request.roles = Roles::of(&[Role::Supervisor, Role::Worker]);
    let issued = world.authority.issue(&request).unwrap();
    let (path, _) = issued.write(world.dir.path(), "node").unwrap();
    let summary = summaries(&path).unwrap().remove(0);
    let identity = summary.identity.unwrap();
    assert_eq!((identity.cluster, identity.node), (world.cluster, node));
    assert_eq!(identity.roles, request.roles);
    assert_eq!(summary.hosts, ["localhost", "127.0.0.1"]);
    assert!(!summary.authority && summary.begins < summary.ends);
    let authority = summaries(&world.authority_file()).unwrap().remove(0);
    assert!(authority.authority && authority.identity.is_none());
    assert_eq!(authority.cluster, Some(world.cluster));
}

#[test]
fn what_cannot_be_granted_is_refused_with_a_reason() {
    let world = World::new();
    let check = |change: fn(&mut Request), reason: &str| {
        let mut request = request(Role::Worker, Uuid::nil());
        change(&mut request);
        let error = world.authority.issue(&request).err().unwrap().to_string();
        assert!(error.contains(reason), "{error}");
    };
    check(|request| request.roles = Roles::NONE, "needs a role");
    check(|request| request.days = 0, "0 days");
    check(|request| request.days = 1001, "ends in");
    check(
        |request| request.names = vec!["ü".to_owned()],
        "no host name",
    );
}

#[test]
fn an_authority_with_an_exposed_or_foreign_key_is_not_opened() {
    let (world, other) = (World::new(), World::new());
    let key = world.dir.path().join(AUTHORITY_KEY);
    fs::copy(other.dir.path().join(AUTHORITY_KEY), &key).unwrap();
    let error = CertificateAuthority::open(world.dir.path()).err().unwrap();
    assert!(chain(&error).contains("another key"), "{error}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = CertificateAuthority::open(world.dir.path()).err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

/// A daemon that is not root gets its key from root by its group; nobody else gives keys away.
#[test]
fn a_group_reads_keys_that_root_owns() {
    let seen = [(0o600, 7), (0o400, 0), (0o440, 0), (0o640, 0)];
    assert!(
        seen.iter()
            .all(|(mode, owner)| !files::exposed(*mode, *owner))
    );
    let seen = [(0o640, 7), (0o660, 0), (0o644, 0), (0o604, 7), (0o444, 0)];
    assert!(
        seen.iter()
            .all(|(mode, owner)| files::exposed(*mode, *owner))
    );
}

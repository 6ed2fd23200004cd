//! Credentials that follow their files, and files that do not fit together.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rama_wire::session::{Role, Roles};

use super::*;
use crate::certificates::{CertificateAuthority, Request};
use crate::testing::{World, chain, request};

fn refusal(paths: &CertificatePaths) -> String {
    chain(&Credentials::load(paths.clone()).unwrap_err())
}

#[test]
fn changed_files_are_read_anew_and_unchanged_ones_are_not() {
    let (world, node) = (World::new(), Uuid::new_v4());
    let credentials = Credentials::load(world.issue(Role::Worker, node)).unwrap();
    assert!(!credentials.refresh().unwrap());
    let left = credentials
        .ends()
        .duration_since(SystemTime::now())
        .unwrap();
    assert_eq!(left.as_secs() / (24 * 3600), 29, "of thirty days");
    let before = credentials.current().key.cert[0].clone();
    world.issue(Role::Worker, node);
    assert!(credentials.refresh().unwrap());
    assert_eq!(credentials.generation(), 1);
    assert_ne!(credentials.current().key.cert[0], before);
    assert!(!credentials.refresh().unwrap());
}

#[test]
fn half_a_rotation_leaves_the_former_certificate_in_force() {
    let (world, node) = (World::new(), Uuid::new_v4());
    let paths = world.issue(Role::Worker, node);
    let credentials = Credentials::load(paths.clone()).unwrap();
    let old_certificate = fs::read(&paths.certificate).unwrap();
    world.issue(Role::Worker, node);
    let new_certificate = fs::read(&paths.certificate).unwrap();
    fs::write(&paths.certificate, old_certificate).unwrap();
    let error = chain(&credentials.refresh().unwrap_err());
    assert!(error.contains("not the certificate's key"), "{error}");
    assert_eq!(credentials.generation(), 0);
    fs::write(&paths.certificate, new_certificate).unwrap();
    assert!(
        credentials.refresh().unwrap(),
        "the other half completes it"
    );
}

#[test]
fn a_running_process_does_not_become_another_node() {
    let world = World::new();
    let paths = world.issue(Role::Worker, Uuid::new_v4());
    let credentials = Credentials::load(paths.clone()).unwrap();
    let other = world.issue(Role::Worker, Uuid::new_v4());
    fs::rename(&other.certificate, &paths.certificate).unwrap();
    fs::rename(&other.key, &paths.key).unwrap();
    let error = credentials.refresh().unwrap_err().to_string();
    assert!(error.contains("restart it"), "{error}");
}

#[test]
fn files_that_do_not_fit_together_are_refused_with_both_named() {
    let (world, other) = (World::new(), World::new());
    let paths = world.issue(Role::Worker, Uuid::new_v4());
    let foreign = CertificatePaths {
        authority: other.authority_file(),
        ..paths.clone()
    };
    let error = refusal(&foreign);
    assert!(error.contains(&world.cluster.to_string()), "{error}");
    assert!(error.contains(&other.cluster.to_string()), "{error}");
    // The same cluster by name, another authority: only its signature tells.
    let (dir, cluster) = (tempfile::tempdir().unwrap(), world.cluster);
    CertificateAuthority::create(dir.path(), cluster, 10).unwrap();
    let impostor = CertificatePaths {
        authority: dir.path().join(crate::certificates::AUTHORITY_CERTIFICATE),
        ..paths.clone()
    };
    let error = refusal(&impostor);
    assert!(error.contains("does not vouch for it"), "{error}");
    fs::set_permissions(&paths.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&paths).contains("chmod 600"));
    fs::remove_file(&paths.key).unwrap();
    assert!(refusal(&paths).contains("could not read"));
}

#[test]
fn a_certificate_without_an_identity_is_refused() {
    let world = World::new();
    let paths = world.issue(Role::Worker, Uuid::new_v4());
    fs::copy(world.authority_file(), &paths.certificate).unwrap();
    let error = refusal(&paths);
    assert!(error.contains("rama://<cluster>/<role>/<node>"), "{error}");
}

#[test]
fn two_authorities_are_trusted_while_one_replaces_the_other() {
    let world = World::new();
    let (dir, node) = (tempfile::tempdir().unwrap(), Uuid::new_v4());
    let next = CertificateAuthority::create(dir.path(), world.cluster, 100).unwrap();
    let paths = world.issue(Role::Worker, node);
    let credentials = Credentials::load(paths.clone()).unwrap();
    let both = format!("{}{}", world.authority.certificate(), next.certificate());
    fs::write(&paths.authority, both).unwrap();
    assert!(credentials.refresh().unwrap());
    world.issue_by(&next, Role::Worker, node);
    assert!(credentials.refresh().unwrap());
    fs::write(&paths.authority, next.certificate()).unwrap();
    assert!(credentials.refresh().unwrap());
    assert_eq!(credentials.generation(), 3);
}

#[test]
fn several_roles_are_one_identity() {
    let world = World::new();
    let roles = Roles::of(&[Role::Conductor, Role::Supervisor]);
    let request = Request {
        roles,
        ..request(Role::Conductor, Uuid::new_v4())
    };
    let issued = world.authority.issue(&request).unwrap();
    let (certificate, key) = issued.write(world.dir.path(), "both").unwrap();
    let authority = world.authority_file();
    let paths = CertificatePaths {
        authority,
        certificate,
        key,
    };
    assert_eq!(Credentials::load(paths).unwrap().identity().roles, roles);
}

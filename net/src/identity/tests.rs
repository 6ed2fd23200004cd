//! Names in certificates, well formed and not.

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;

fn named(uris: &[String]) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    let uris = uris.iter().map(|uri| uri.as_str().try_into().unwrap());
    params.subject_alt_names = uris.map(SanType::URI).collect();
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

#[test]
fn an_identity_comes_back_as_it_was_named() {
    let identity = Identity {
        cluster: Uuid::from_u128(1),
        node: Uuid::from_u128(2),
        roles: Roles::of(&[Role::Supervisor, Role::Worker]),
    };
    assert_eq!(Identity::of(&named(&identity.uris())), Ok(identity));
    // Names of other systems beside ours mean nothing.
    let beside = [identity.uris(), vec!["spiffe://x/y".to_owned()]].concat();
    assert_eq!(Identity::of(&named(&beside)), Ok(identity));
}

#[test]
fn what_is_no_identity_is_none() {
    let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let good = format!("rama://{a}/worker/{b}");
    for bad in [
        format!("rama://{a}/king/{b}"),
        format!("rama://{a}/worker"),
        format!("rama://{a}/worker/{b}/more"),
        format!("rama://{a}/worker/x"),
        "rama://".to_owned(),
    ] {
        let found = Identity::of(&named(&[good.clone(), bad.clone()]));
        assert_eq!(found, Err(BadIdentity::BadName(bad)));
    }
    for other in [
        format!("rama://{b}/worker/{b}"),
        format!("rama://{a}/worker/{a}"),
    ] {
        let found = Identity::of(&named(&[good.clone(), other]));
        assert_eq!(found, Err(BadIdentity::Contradiction));
    }
    assert_eq!(Identity::of(&named(&[])), Err(BadIdentity::NoName));
    let none = Identity::of(&CertificateDer::from(vec![0x30, 0x80, 1]));
    assert!(matches!(none, Err(BadIdentity::Unreadable(_))), "{none:?}");
}

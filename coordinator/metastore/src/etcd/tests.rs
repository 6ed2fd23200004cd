//! What is refused, and what errors are taken for. The suite on real members is in `tests/etcd.rs`.

use super::config::{EtcdConfig, EtcdTls, Secret};
use super::failure::{Failure, Final, by_status};
use super::{prefix_end, version};
use crate::error::Error;
use crate::txn::Txn;

#[test]
fn releases_that_corrupt_data_are_refused_with_the_reason() {
    for bad in [
        "3.5.0",
        "3.5.1",
        "3.5.2",
        "3.5.1-rc.0",
        "3.3.27",
        "2.3.8",
        "",
        "3",
        "x.y.z",
    ] {
        let error = version::check("http://a", bad).unwrap_err();
        assert!(matches!(error, Error::Version { .. }), "{bad}: {error}");
    }
    let text = version::check("http://a", "3.5.1").unwrap_err().to_string();
    for part in ["http://a", "3.5.1", "corrupts data", "upgrade"] {
        assert!(text.contains(part), "{text}");
    }
    for good in [
        "3.4.0",
        "3.4.23",
        "3.5.3",
        "3.5.21",
        "3.6.0",
        "3.6.0-rc.1+git",
        "4.0.0",
    ] {
        assert_eq!(version::check("http://a", good), Ok(()), "{good}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let none: [&str; 0] = [];
    let tls = Some(EtcdTls {
        ca: "ca.pem".into(),
        identity: None,
        server_name: None,
    });
    let with = |endpoints: &[&str], tls| EtcdConfig {
        tls,
        ..EtcdConfig::new(endpoints.iter().copied())
    };
    let refused = [
        with(&none, None),
        with(&["127.0.0.1:2379"], None),
        with(&["https://a:2379"], None),
        with(&["http://a:2379"], tls.clone()),
        with(&["https://a:2379", "http://b:2379"], tls.clone()),
    ];
    for config in refused {
        assert!(
            matches!(config.check(), Err(Error::Invalid { .. })),
            "{config:?}"
        );
    }
    assert_eq!(with(&["http://a:1", "http://b:1"], None).check(), Ok(()));
    let secure = with(&["https://a:1"], tls);
    assert_eq!(secure.check(), Ok(()));
    let error = secure.options().unwrap_err().to_string();
    assert!(error.contains("could not read ca.pem"), "{error}");
}

#[test]
fn passwords_are_not_shown() {
    let mut config = EtcdConfig::new(["http://a:1"]);
    config.user = Some(("u".into(), Secret::new("hush")));
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn an_error_counts_as_sent_unless_it_certainly_was_not() {
    let sent = [
        (
            14,
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        (14, "etcdserver: leader changed"),
        (14, "etcdserver: server stopped"),
        (14, "transport error: connection reset by peer"),
        (4, "deadline exceeded"),
        (1, "canceled"),
        (2, "h2 protocol error"),
        (13, "stream ended"),
        (0, ""),
    ];
    for (code, text) in sent {
        assert!(
            matches!(by_status(code, text), Failure::Away { sent: true, .. }),
            "{text}"
        );
    }
    let unsent = [
        (14, "tcp connect error: Connection refused (os error 111)"),
        (14, "error trying to connect: dns error"),
        (14, "etcdserver: no leader"),
        (8, "etcdserver: too many requests"),
        (16, "etcdserver: invalid auth token"),
    ];
    for (code, text) in unsent {
        assert!(
            matches!(by_status(code, text), Failure::Away { sent: false, .. }),
            "{text}"
        );
    }
}

#[test]
fn an_answer_that_stays_the_same_is_not_asked_for_again() {
    let is = |code, text, expected: Final| {
        assert_eq!(by_status(code, text), Failure::Final(expected), "{text}");
    };
    is(5, "etcdserver: requested lease not found", Final::LeaseGone);
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    is(11, compacted, Final::Compacted);
    is(
        11,
        "Error, decoded message length too large: found 5",
        Final::TooLarge,
    );
    is(3, "etcdserver: request is too large", Final::TooLarge);
    for (code, text) in [
        (7, "etcdserver: permission denied"),
        (
            3,
            "etcdserver: authentication failed, invalid user ID or password",
        ),
        (3, "etcdserver: user name is empty"),
        (9, "etcdserver: authentication is not enabled"),
    ] {
        is(code, text, Final::Denied(text.into()));
    }
    for (code, text) in [
        (3, "etcdserver: duplicate key given in txn request"),
        (
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (8, "etcdserver: mvcc: database space exceeded"),
        (12, "unknown service"),
    ] {
        is(code, text, Final::Invalid(text.into()));
    }
}

#[test]
fn a_prefix_ends_before_the_next_key() {
    assert_eq!(prefix_end("/a/"), b"/a0");
    assert_eq!(prefix_end("a"), b"b");
    // Text never ends in 0xff; the last character of all does end somewhere.
    let end = prefix_end("\u{10ffff}");
    assert!(end.as_slice() > "\u{10ffff}\u{10ffff}".as_bytes());
}

#[test]
fn only_what_cannot_be_done_twice_is_sent_twice() {
    let guarded = [
        Txn::new().absent("a").put("a", "1"),
        Txn::new().at_revision("a", 7).put("a", "1"),
        Txn::new().at_revision("a", 7).delete_prefix("a"),
        Txn::new().exists("a").delete("a"),
        Txn::new().exists("b").at_revision("a", 7).put("a", "1"),
    ];
    for txn in guarded {
        assert!(txn.guards_itself(), "{txn:?}");
    }
    let open = [
        Txn::new().put("a", "1"),
        Txn::new().exists("a").put("a", "1"),
        Txn::new().absent("b").put("a", "1"),
        Txn::new().at_revision("b", 7).put("a", "1"),
        Txn::new().absent("a").delete("a"),
    ];
    for txn in open {
        assert!(!txn.guards_itself(), "{txn:?}");
    }
}

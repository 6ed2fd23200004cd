//! Which names of hosts who asks is given.

use super::*;

#[test]
fn hosts_are_named_as_who_asks_names_them() {
    let hosts = ("node7.internal".to_owned(), "node7.example.org".to_owned());
    let wants = |headers: &[(&'static str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        wants_internal(&map, &hosts)
    };
    assert!(!wants(&[]));
    assert!(wants(&[(HOSTS, "internal")]));
    assert!(wants(&[("host", "node7.internal:8888")]));
    assert!(wants(&[("host", "node7.internal")]));
    assert!(!wants(&[("host", "node7.example.org:8888")]));
    // The header is the stronger word.
    assert!(!wants(&[
        ("host", "node7.internal:8888"),
        (HOSTS, "external")
    ]));
    let six = ("::1".to_owned(), "example.org".to_owned());
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("[::1]:8888"));
    assert!(wants_internal(&map, &six));
    // Where both are the same there is nothing to choose.
    let same = ("a".to_owned(), "a".to_owned());
    map.insert("host", HeaderValue::from_static("a:1"));
    assert!(!wants_internal(&map, &same));
}

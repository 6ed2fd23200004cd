//! What arrives at the socket that systemd would have.

use super::*;

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 64];
    let count = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..count].to_vec()).unwrap()
}

#[test]
fn states_are_sent_to_sockets_of_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    send(path.as_os_str(), "READY=1").unwrap();
    assert_eq!(heard(&socket), "READY=1");

    let name = format!("rama-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    send(format!("@{name}").as_ref(), "STOPPING=1").unwrap();
    assert_eq!(heard(&socket), "STOPPING=1");
    assert!(send(dir.path().join("nobody").as_os_str(), "READY=1").is_err());
}

#[test]
fn a_sign_of_life_comes_twice_as_often_as_it_is_waited_for() {
    let own = std::process::id().to_string();
    let usec = Some("30000000".to_owned());
    let half = Some(Duration::from_secs(15));
    assert_eq!(interval(usec.clone(), None), half);
    assert_eq!(interval(usec.clone(), Some(own)), half);
    assert_eq!(interval(usec, Some("1".to_owned())), None);
    assert_eq!(interval(None, None), None);
    assert_eq!(interval(Some("0".to_owned()), None), None);
    assert_eq!(interval(Some("soon".to_owned()), None), None);
}

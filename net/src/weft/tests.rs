//! Files: whole, by range, resumed, changed, refused; and how fast.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rama_wire::session::{Role, StreamHeader, WeftAnswer, WeftRefusal};

use super::*;
use crate::testing::{World, chain, dial, on_tokio};
use crate::{Dial, Endpoint};

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 / 7) as u8).collect()
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Where a fetch of `bytes` to `to` keeps what has arrived.
fn part(to: &Path, bytes: &[u8]) -> PathBuf {
    let digits = hexadecimal(&hash(bytes));
    to.with_file_name(format!("copy.{}.part", &digits[..16]))
}

/// A supervisor that serves `root`, and a worker with a dial for it.
fn pair(world: &World, root: &std::path::Path) -> (Endpoint, Endpoint, Dial) {
    let server = world.endpoint(Role::Supervisor);
    let files = FileServer::new(root, None).unwrap();
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(accepted) = accepting.accept().await {
            let files = files.clone();
            tokio::spawn(async move { files.serve(accepted).await });
        }
    });
    let dial = dial(&server, Role::Supervisor);
    (server, world.endpoint(Role::Worker), dial)
}

async fn range(client: &Endpoint, dial: &Dial, request: WeftRequest) -> Result<Vec<u8>, WeftError> {
    let mut download = Download::open(client, dial, &request).await?;
    let mut bytes = Vec::new();
    while let Some(portion) = download.next().await? {
        bytes.extend_from_slice(&portion);
    }
    Ok(bytes)
}

fn request(path: &str) -> WeftRequest {
    WeftRequest {
        path: path.to_owned(),
        hash: None,
        offset: 0,
        length: None,
    }
}

#[test]
fn a_file_arrives_whole_under_its_name() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(5_000_000);
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/file.bin"), &bytes).unwrap();
        fs::write(root.path().join("empty"), b"").unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        let to = root.path().join("copy");
        let found = fetch(&client, &dial, "a/file.bin", None, &to)
            .await
            .unwrap();
        assert_eq!((found.size, found.hash), (bytes.len() as u64, hash(&bytes)));
        assert!(fs::read(&to).unwrap() == bytes);
        fetch(&client, &dial, "empty", Some(hash(b"")), &to)
            .await
            .unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"");
        let parts = fs::read_dir(root.path()).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().contains(".part")
        });
        assert_eq!(parts.count(), 0);
    });
}

#[test]
fn ranges_are_what_was_asked_for() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(200_000);
        fs::write(root.path().join("file"), &bytes).unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        for (offset, length) in [(0, 1), (1, 100_000), (150_000, 999_999), (200_000, 5)] {
            let request = WeftRequest {
                offset: offset as u64,
                length: Some(length as u64),
                ..request("file")
            };
            let found = range(&client, &dial, request).await.unwrap();
            assert!(
                found == bytes[offset..bytes.len().min(offset + length)],
                "{offset}"
            );
        }
    });
}

/// What is there of the same file is not sent again; what is there of another is not touched.
#[test]
fn a_fetch_goes_on_where_an_earlier_one_ended() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(1_000_000);
        fs::write(root.path().join("file"), &bytes).unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        let to = root.path().join("copy");
        let part = part(&to, &bytes);
        fs::write(&part, &bytes[..900_000]).unwrap();
        fetch(&client, &dial, "file", None, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == bytes);
        // A part that is not the beginning of the file shows that it was used: the hash is wrong,
        // the part is thrown away, and the next try is a whole one.
        fs::write(&part, vec![0; 900_000]).unwrap();
        let error = fetch(&client, &dial, "file", None, &to).await.unwrap_err();
        assert!(matches!(error, WeftError::Corrupt { .. }), "{error}");
        assert!(!part.exists());
        fetch(&client, &dial, "file", None, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == bytes);
    });
}

/// Such a part would be refused for ever.
#[test]
fn a_part_longer_than_its_file_is_thrown_away() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(1000);
        fs::write(root.path().join("file"), &bytes).unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        let to = root.path().join("copy");
        let part = part(&to, &bytes);
        fs::write(&part, content(1001)).unwrap();
        let error = fetch(&client, &dial, "file", None, &to).await.unwrap_err();
        let reason = WeftRefusal::Invalid;
        assert!(matches!(error, WeftError::Refused { reason: found, .. } if found == reason));
        assert!(!part.exists());
        fetch(&client, &dial, "file", None, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == bytes);
    });
}

#[test]
fn two_fetches_do_not_write_to_one_part() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(1000);
        fs::write(root.path().join("file"), &bytes).unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        let to = root.path().join("copy");
        let part = part(&to, &bytes);
        fs::write(&part, &bytes[..10]).unwrap();
        let other = fs::File::open(&part).unwrap();
        other.lock().unwrap();
        let error = fetch(&client, &dial, "file", None, &to).await.unwrap_err();
        assert!(chain(&error).contains("being fetched"), "{error}");
        assert_eq!(fs::read(&part).unwrap(), bytes[..10]);
        other.unlock().unwrap();
        fetch(&client, &dial, "file", None, &to).await.unwrap();
        assert!(fs::read(&to).unwrap() == bytes);
    });
}

#[test]
fn a_file_that_changed_is_refused_to_those_who_want_the_former() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        fs::write(root.path().join("file"), b"old").unwrap();
        let (_server, client, dial) = pair(&world, root.path());
        let old = Some(hash(b"old"));
        let wanted = WeftRequest {
            hash: old,
            ..request("file")
        };
        assert_eq!(range(&client, &dial, wanted.clone()).await.unwrap(), b"old");
        fs::write(root.path().join("file"), b"newer").unwrap();
        let error = range(&client, &dial, wanted).await.unwrap_err();
        let reason = WeftRefusal::Changed;
        assert!(matches!(error, WeftError::Refused { reason: found, .. } if found == reason));
    });
}

#[test]
fn nothing_outside_of_the_directory_is_served() {
    on_tokio(async {
        let (world, outer) = (World::new(), tempfile::tempdir().unwrap());
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::write(outer.path().join("secret"), b"secret").unwrap();
        symlink(outer.path().join("secret"), root.join("link")).unwrap();
        symlink(outer.path(), root.join("up")).unwrap();
        let (_server, client, dial) = pair(&world, &root);
        let cases = [
            ("../secret", WeftRefusal::Invalid),
            ("dir/../../secret", WeftRefusal::Invalid),
            ("/etc/passwd", WeftRefusal::Invalid),
            ("dir//x", WeftRefusal::Invalid),
            ("", WeftRefusal::Invalid),
            (".hidden", WeftRefusal::Invalid),
            ("a\0b", WeftRefusal::Invalid),
            ("link", WeftRefusal::Invalid),
            ("up/secret", WeftRefusal::Invalid),
            ("dir", WeftRefusal::Invalid),
            ("nothing", WeftRefusal::NotFound),
            ("dir/nothing/at/all", WeftRefusal::NotFound),
        ];
        for (path, expected) in cases {
            match range(&client, &dial, request(path)).await {
                Err(WeftError::Refused { reason, .. }) => assert_eq!(reason, expected, "{path:?}"),
                other => panic!("{path:?}: {other:?}"),
            }
        }
        let long = "a/".repeat(600) + "a";
        assert!(check_path(&long).is_err() && check_path(&"a".repeat(256)).is_err());
        assert_eq!(check_path("modules/word_count-0.1.0+abc@1,2=3.bin"), Ok(()));
    });
}

/// A server that lies about bytes is found out.
#[test]
fn bytes_that_are_not_those_of_the_file_are_not_kept() {
    on_tokio(async {
        let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
        let server = world.endpoint(Role::Supervisor);
        let client = world.endpoint(Role::Worker);
        let dial = dial(&server, Role::Supervisor);
        let lying = tokio::spawn(async move {
            let accepted = server.accept().await.unwrap();
            assert_eq!(accepted.header, StreamHeader::Weft);
            let claimed = WeftFile {
                size: 4,
                hash: hash(b"good"),
                length: 4,
            };
            let messages = [
                WeftAnswer::Found(claimed).encode(),
                b"evil".to_vec(),
                rama_wire::session::WeftEnd {
                    hash: hash(b"evil"),
                }
                .encode(),
            ];
            for message in messages {
                accepted.sender.send(message).await.unwrap();
            }
            // Whoever has seen the lie takes no more, maybe not even the end.
            let _ = accepted.sender.close().await;
            server
        });
        let to = dir.path().join("copy");
        let error = fetch(&client, &dial, "file", Some(hash(b"good")), &to).await;
        assert!(matches!(error, Err(WeftError::Corrupt { .. })));
        assert!(!to.exists());
        lying.await.unwrap();
    });
}

#[test]
fn clients_may_not_fetch_files() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let (_server, _, dial) = pair(&world, root.path());
        let client = world.endpoint(Role::Client);
        let error = range(&client, &dial, request("x")).await.unwrap_err();
        let forbidden = StreamError::Forbidden;
        assert!(matches!(error, WeftError::Stream { source, .. } if source == forbidden));
    });
}

#[test]
fn a_bucket_lets_through_its_rate_and_its_burst_and_no_more() {
    use std::time::Duration;
    let mut bucket = TokenBucket::new(1_000_000, 100_000);
    let (mut now, mut sent) = (Duration::ZERO, 0u64);
    while now < Duration::from_secs(10) {
        now += bucket.take(now, 30_000);
        sent += 30_000;
        assert!(
            sent as f64 <= 100_000.0 + 1e6 * now.as_secs_f64() + 30_000.0,
            "{sent} at {now:?}"
        );
    }
    assert!(
        sent as f64 >= 0.99 * 1e6 * now.as_secs_f64(),
        "{sent} at {now:?}"
    );
    // Rest fills it to the burst and no further.
    now += Duration::from_secs(3600);
    assert_eq!(bucket.take(now, 100_000), Duration::ZERO);
    assert_eq!(bucket.take(now, 1_000_000), Duration::from_secs(1));
}

/// Two files at once share one bucket: the second portion waits for the first.
#[test]
fn a_limited_server_still_sends_everything() {
    on_tokio(async {
        let (world, root) = (World::new(), tempfile::tempdir().unwrap());
        let bytes = content(3_000_000);
        fs::write(root.path().join("file"), &bytes).unwrap();
        let server = world.endpoint(Role::Supervisor);
        let bucket = TokenBucket::new(100_000_000, 1_000_000);
        let files = FileServer::new(root.path(), Some(bucket)).unwrap();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Some(accepted) = accepting.accept().await {
                let files = files.clone();
                tokio::spawn(async move { files.serve(accepted).await });
            }
        });
        let (client, dial) = (
            world.endpoint(Role::Worker),
            dial(&server, Role::Supervisor),
        );
        let (a, b) = tokio::join!(
            range(&client, &dial, request("file")),
            range(&client, &dial, request("file"))
        );
        assert!(a.unwrap() == bytes && b.unwrap() == bytes);
    });
}

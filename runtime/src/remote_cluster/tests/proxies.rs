//! Proxies over real links, from a program outside and from the other worker.

use super::*;
use crate::{Change, Diff, Proxy, ProxyStatus};

const WORDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

type Count = Proxy<Option<u64>, (), Option<u64>>;

async fn all(cluster: &Cluster) -> Vec<Count> {
    let counts = cluster.pstate(COUNTS);
    let mut proxies = Vec::new();
    for word in WORDS {
        // The worker's own links may still be on their way up.
        let open = || counts.proxy(COUNTS.key(word));
        proxies.push(crate::testing::workers::until_up(cluster, open).await);
    }
    proxies
}

/// Reads on until the value is at least `count`; answers whether it was read anew on the way.
async fn until(proxy: &mut Count, count: u64) -> bool {
    let mut anew = false;
    loop {
        let Change { new, diff, .. } = proxy.next().await.unwrap();
        anew |= diff == Diff::Resync;
        if *new >= Some(count) {
            return anew;
        }
    }
}

/// P-43: a worker dies and comes back. Who followed what it has reads it anew and follows on.
#[tokio::test]
async fn proxies_outlive_a_worker_that_dies() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = two(dir.path(), &Words).await;
    let told = Told::new(at(1, &Words, &[&first, &second]));
    let (outside, words) = open(&told).await;
    let (lines, line) = (words.depot(LINES), "a b c d e f g h".to_owned());
    let mut proxies = all(&outside).await;
    proxies.extend(all(&first.cluster()).await);
    for proxy in &mut proxies {
        assert_eq!(proxy.next().await.unwrap().diff, Diff::Resync);
    }
    lines.append(&line).await.unwrap();
    for proxy in &mut proxies {
        assert!(!until(proxy, 1).await, "nothing was missed");
    }
    drop(second);
    let second = Worker::bind(config_of(dir.path(), 1, 2)).await.unwrap();
    connect(&[&first, &second]);
    told.say(at(2, &Words, &[&first, &second]));
    second.launch(&Words).await.unwrap();
    lines.append(&line).await.unwrap();
    let mut anew = 0;
    for proxy in &mut proxies {
        anew += u32::from(until(proxy, 2).await);
        assert_eq!(proxy.status(), ProxyStatus::Active);
    }
    assert!(anew > 0, "some of these words were on the worker that died");
    drop(proxies);
    first.shutdown().await.unwrap();
    second.shutdown().await.unwrap();
}

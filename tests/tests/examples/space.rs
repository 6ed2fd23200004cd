//! RamaSpace: a small social network in one module of four topologies and a query.

use std::collections::BTreeMap;

use rama::helpers::UniqueIds;
use rama::prelude::*;

#[rama::record]
struct Registration {
    user: String,
    email: String,
    display_name: String,
    password_hash: u32,
    /// Made by the client, so that it can tell whether it was the one.
    id: u64,
}

/// One field of a profile.
#[rama::record]
enum Edit {
    DisplayName(String),
    Bio(String),
    Location(String),
}

#[derive(Schema)]
#[allow(dead_code)]
struct Profile {
    display_name: String,
    email: String,
    bio: String,
    location: String,
    password_hash: u32,
    joined_at_ms: u64,
    registration: u64,
}

#[rama::record]
struct FriendRequest {
    user: String,
    to: String,
    canceled: bool,
}

#[rama::record]
struct Friendship {
    one: String,
    other: String,
    ended: bool,
}

#[rama::record]
struct Post {
    user: String,
    to: String,
    content: String,
}

#[rama::record]
struct Resolved {
    user: String,
    content: String,
    display_name: Option<String>,
}

const REGISTRATIONS: Depot<Registration> = Depot::named("*registrations");
const EDITS: Depot<(String, Edit)> = Depot::named("*edits");
const REQUESTS: Depot<FriendRequest> = Depot::named("*requests");
const FRIENDSHIPS: Depot<Friendship> = Depot::named("*friendships");
const POSTED: Depot<Post> = Depot::named("*posted");
const VIEWS: Depot<(String, u64)> = Depot::named("*views");
const PROFILES: PState<Map<String, Profile>> = PState::named("$$profiles");
const OUTGOING: PState<Map<String, Set<String>>> = PState::named("$$outgoing");
const INCOMING: PState<Map<String, Set<String>>> = PState::named("$$incoming");
const FRIENDS: PState<Map<String, Set<String>>> = PState::named("$$friends");
const POSTS: PState<Map<String, Map<u64, Post>>> = PState::named("$$posts");
const POST_IDS: PState<u64> = PState::named("$$post_ids").private();
const HOURS: PState<Map<String, Map<u64, u64>>> = PState::named("$$hours");
const PAGE: Query<(String, u64), BTreeMap<u64, Resolved>> = Query::named("page");

struct Space;

impl Module for Space {
    fn define(&self, m: &mut Setup) {
        let profiles = define_users(m);
        define_friends(m);
        define_posts(m, profiles);
        m.depot_by(VIEWS, |(of, _)| of);
        let mut mb = m.microbatch("views");
        let hours = mb.pstate(HOURS);
        mb.source(VIEWS).each(move |task, (of, at_ms)| {
            let hour = at_ms / 3_600_000;
            hours.key(&of).key(&hour).modify(task, |views| *views += 1);
        });
    }
}

/// What topologies of the module read profiles through.
type Profiles = rama::LocalPState<Map<String, Profile>>;

fn define_users(m: &mut Setup) -> Profiles {
    m.depot_by(REGISTRATIONS, |registration| &registration.user);
    m.depot_by(EDITS, |(user, _)| user);
    let mut s = m.stream("users");
    let profiles = s.pstate(PROFILES);
    s.source(REGISTRATIONS).each(move |task, new| {
        let profile = profiles.key(&new.user);
        if !profile.registration().exists(task) {
            profile.registration().set(task, new.id);
            profile.email().set(task, new.email);
            profile.display_name().set(task, new.display_name);
            profile.password_hash().set(task, new.password_hash);
            profile.joined_at_ms().set(task, task.now_ms());
        }
    });
    s.source(EDITS).each(move |task, (user, edit)| {
        let profile = profiles.key(&user);
        match edit {
            Edit::DisplayName(name) => profile.display_name().set(task, name),
            Edit::Bio(bio) => profile.bio().set(task, bio),
            Edit::Location(location) => profile.location().set(task, location),
        }
    });
    profiles
}

fn define_friends(m: &mut Setup) {
    m.depot_by(REQUESTS, |request| &request.user);
    m.depot_by(FRIENDSHIPS, |friendship| &friendship.one);
    let mut s = m.stream("friends");
    let (outgoing, incoming) = (s.pstate(OUTGOING), s.pstate(INCOMING));
    let friends = s.pstate(FRIENDS);
    s.source(REQUESTS)
        .inspect(move |task, request| {
            let requests = outgoing.key(&request.user);
            match request.canceled {
                true => requests.remove(task, &request.to),
                false => requests.insert(task, &request.to),
            }
        })
        .hash_partition_by(|request| &request.to)
        .each(move |task, request| {
            let requests = incoming.key(&request.to);
            match request.canceled {
                true => requests.remove(task, &request.user),
                false => requests.insert(task, &request.user),
            }
        });
    // The same on both sides: requests are over, friends are friends or no longer.
    let settle = move |task: &Task, one: &String, other: &String, ended: bool| {
        outgoing.key(one).remove(task, other);
        incoming.key(one).remove(task, other);
        match ended {
            true => friends.key(one).remove(task, other),
            false => friends.key(one).insert(task, other),
        }
    };
    s.source(FRIENDSHIPS)
        .inspect(move |task, Friendship { one, other, ended }| settle(task, one, other, *ended))
        .hash_partition_by(|friendship| &friendship.other)
        .each(move |task, Friendship { one, other, ended }| settle(task, &other, &one, ended));
}

fn define_posts(m: &mut Setup, profiles: Profiles) {
    m.depot_by(POSTED, |post| &post.to);
    let mut mb = m.microbatch("posts");
    let (ids, posts) = (UniqueIds::descending(&mut mb, POST_IDS), mb.pstate(POSTS));
    mb.source(POSTED).each(move |task, post| {
        posts.key(&post.to).key(&ids.next(task)).set(task, post);
    });
    m.query(PAGE, |q| {
        q.hash_partition(|(user, _)| user)
            .flat_map(move |task, (user, from)| {
                posts.key(&user).range(from..).first_n(20).entries(task)
            })
            .hash_partition_by(|(_, post)| &post.user)
            .map(move |task, (id, Post { user, content, .. })| {
                let display_name = profiles.key(&user).display_name().get(task);
                (
                    id,
                    Resolved {
                        user,
                        content,
                        display_name,
                    },
                )
            })
            .origin_partition()
            .agg(|of| of.map(|resolved| resolved.clone()))
    });
}

fn registration(user: &str, email: &str, display_name: &str, hash: u32, id: u64) -> Registration {
    Registration {
        user: user.into(),
        email: email.into(),
        display_name: display_name.into(),
        password_hash: hash,
        id,
    }
}

/// Registers and answers whether this was the one.
async fn register(cluster: &Cluster, registration: &Registration) -> bool {
    let appended = cluster.depot(REGISTRATIONS).append(registration).await;
    appended.expect("append");
    let id = PROFILES.key(&registration.user).registration();
    let id = cluster
        .pstate(PROFILES)
        .select_one(id)
        .await
        .expect("select");
    id == Some(registration.id)
}

/// P-2, T-5, Q-1, R-1: a registration is the first, edits touch one field, posts come in pages with the
/// names of those who wrote them, from another topology's PState.
#[tokio::test]
async fn people_register_once_and_read_posts_in_pages() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Space).await.expect("launch");
    let alice = registration("alice", "alice@gmail.com", "Alice Alice", 1, 71);
    assert!(register(&cluster, &alice).await);
    assert!(
        register(&cluster, &alice).await,
        "also when it is sent twice"
    );
    let other = registration("alice", "alice2@gmail.com", "Alice2", 2, 72);
    assert!(!register(&cluster, &other).await);
    let edit = ("alice".to_owned(), Edit::Bio("in wonderland".into()));
    cluster.depot(EDITS).append(&edit).await.expect("append");
    let profiles = cluster.pstate(PROFILES);
    let profile = PROFILES.key("alice");
    let hash = profiles
        .select_one(profile.password_hash())
        .await
        .expect("select");
    assert_eq!(hash, Some(1));
    for (field, expected) in [
        (profile.display_name(), Some("Alice Alice")),
        (profile.email(), Some("alice@gmail.com")),
        (profile.bio(), Some("in wonderland")),
        (profile.location(), None),
    ] {
        let found = profiles.select_one(field).await.expect("select");
        assert_eq!(found.as_deref(), expected);
    }
    let joined = profiles
        .select_one(profile.joined_at_ms())
        .await
        .expect("select");
    assert!(joined.is_some_and(|at_ms| at_ms > 0));

    assert!(register(&cluster, &registration("bob", "b@x", "Bobby", 2, 73)).await);
    assert!(register(&cluster, &registration("charlie", "c@x", "Charles", 2, 74)).await);
    for number in 0..8 {
        for (user, mark) in [("alice", "x"), ("charlie", "y"), ("bob", "z")] {
            let content = format!("{mark}{number}");
            let post = Post {
                user: user.into(),
                to: "alice".into(),
                content,
            };
            cluster.depot(POSTED).append(&post).await.expect("append");
        }
    }
    let processed = cluster.wait_for_processed("Space", "posts", 24).await;
    processed.expect("processed");
    let page = async |from| {
        let page = cluster.query(PAGE).invoke(("alice".to_owned(), from)).await;
        page.expect("a page")
    };
    let first = page(0).await;
    let newest = first.values().next().expect("a post");
    assert_eq!(
        (&*newest.content, newest.display_name.as_deref()),
        ("z7", Some("Bobby"))
    );
    assert_eq!(first.len(), 20);
    let last = *first.keys().last().expect("a post");
    let second = page(last + 1).await;
    assert_eq!(second.len(), 4);
    let oldest = second.values().last().expect("a post");
    assert_eq!((&*oldest.content, &*oldest.user), ("x0", "alice"));
}

async fn of(
    cluster: &Cluster,
    pstate: PState<Map<String, Set<String>>>,
    user: &str,
) -> Vec<String> {
    let elements = pstate.key(user).all();
    cluster
        .pstate(pstate)
        .select(elements)
        .await
        .expect("select")
}

#[tokio::test]
async fn friends_are_friends_on_both_sides_and_views_are_counted_by_the_hour() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Space).await.expect("launch");
    let (alice, bob, none) = ("alice".to_owned(), "bob".to_owned(), Vec::<String>::new());
    let ask = async |canceled| {
        let request = FriendRequest {
            user: alice.clone(),
            to: bob.clone(),
            canceled,
        };
        cluster
            .depot(REQUESTS)
            .append(&request)
            .await
            .expect("append");
    };
    ask(false).await;
    assert_eq!(of(&cluster, OUTGOING, "alice").await, ["bob"]);
    assert_eq!(of(&cluster, INCOMING, "bob").await, ["alice"]);
    ask(true).await;
    assert_eq!(of(&cluster, OUTGOING, "alice").await, none);
    assert_eq!(of(&cluster, INCOMING, "bob").await, none);
    ask(false).await;
    for ended in [false, true] {
        let (one, other) = (bob.clone(), alice.clone());
        let friendship = Friendship { one, other, ended };
        cluster
            .depot(FRIENDSHIPS)
            .append(&friendship)
            .await
            .expect("append");
        assert_eq!(of(&cluster, OUTGOING, "alice").await, none);
        assert_eq!(of(&cluster, INCOMING, "bob").await, none);
        let expected = if ended {
            none.clone()
        } else {
            vec![bob.clone()]
        };
        assert_eq!(of(&cluster, FRIENDS, "alice").await, expected);
        assert_eq!(of(&cluster, FRIENDS, "bob").await.len(), expected.len());
    }

    for at_ms in [0, 3_599_999, 3_600_000] {
        let view = ("alice".to_owned(), at_ms);
        cluster.depot(VIEWS).append(&view).await.expect("append");
    }
    let processed = cluster.wait_for_processed("Space", "views", 3).await;
    processed.expect("processed");
    let hours = cluster.pstate(HOURS).select(HOURS.key("alice").all()).await;
    assert_eq!(hours.expect("select"), [(0, 2), (1, 1)]);
}

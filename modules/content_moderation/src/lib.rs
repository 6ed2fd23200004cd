//! Content moderation: the posts to a user in pages, without those of people the user has muted.
//!
//! Relies on posts and mutes of a user being on one task. A page is full, or the last: what is muted
//! is made up for by reading on, a part at a time, so that a long list of muted posts holds up nobody
//! else's reads. What must stay true: following the offsets of pages shows every post once whose
//! writer is not muted, in order; unmuting brings posts back, for they stay where they are.

use rama::prelude::*;

/// Something written to a user.
#[rama::record]
pub struct Post {
    /// Who wrote it.
    pub from: u64,
    /// To whom.
    pub to: u64,
    /// What.
    pub content: String,
}

/// A user wants to see somebody's posts, or no longer.
#[rama::record]
pub struct Mute {
    /// Who wants that.
    pub user: u64,
    /// Whose posts.
    pub other: u64,
    /// Whether they are muted from now on.
    pub muted: bool,
}

/// Some of the posts to a user.
#[rama::record]
pub struct Page {
    /// As many as were asked for, if there are.
    pub posts: Vec<Post>,
    /// Where the next page begins; `None` after the last post.
    pub next: Option<u64>,
}

/// Posts, partitioned by whom they are written to.
pub const POSTS: Depot<Post> = Depot::named("*posts");
/// Mutes, partitioned by who wants them.
pub const MUTES: Depot<Mute> = Depot::named("*mutes");
/// User to the posts written to them, oldest first.
pub const INBOXES: PState<Map<u64, List<Post>>> = PState::named("$$inboxes");
/// User to those whose posts are muted.
pub const MUTED: PState<Map<u64, Set<u64>>> = PState::named("$$muted");
/// A page: of which user, from which offset, of how many posts at most.
pub const PAGE: Query<(u64, u64, u64), Page> = Query::named("page");

/// How many posts are read at a time.
const READ_MAX: u64 = 1000;

/// The module.
pub struct ContentModeration;

impl Module for ContentModeration {
    fn define(&self, m: &mut Setup) {
        m.depot_by(POSTS, |post| &post.to);
        m.depot_by(MUTES, |mute| &mute.user);
        let mut s = m.stream("moderation");
        let (inboxes, muted) = (s.pstate(INBOXES), s.pstate(MUTED));
        s.source(POSTS)
            .each(move |task, post| inboxes.key(&post.to).append(task, post));
        s.source(MUTES).each(move |task, mute| match mute.muted {
            true => muted.key(&mute.user).insert(task, &mute.other),
            false => muted.key(&mute.user).remove(task, &mute.other),
        });
        m.query(PAGE, |q| {
            q.hash_partition(|(user, ..)| user)
                .map(|_, (user, from, limit)| (user, from, limit, Vec::new()))
                .iterate(|round| {
                    round.map(move |task, (user, from, limit, mut posts)| {
                        let (inbox, muted) = (inboxes.key(&user), muted.key(&user));
                        let wanted = READ_MAX.min(limit - posts.len() as u64);
                        let read = inbox.range(from..).first_n(wanted).values(task);
                        let end = from + read.len() as u64;
                        posts.extend(
                            read.into_iter()
                                .filter(|post| !muted.contains(task, &post.from)),
                        );
                        let next = (end < inbox.len(task)).then_some(end);
                        match next {
                            Some(next) if (posts.len() as u64) < limit => {
                                Turn::Again((user, next, limit, posts))
                            }
                            next => Turn::Emit(Page { posts, next }),
                        }
                    })
                })
                .origin_partition()
        });
    }
}

//! Profiles: registration that survives races and retries, unique ids, partial edits.
//!
//! Relies on one stream topology. Registrations are keyed by username, so that two people racing
//! for one name meet on one task; the winner is whoever's registration id was stored first. A
//! repeated append (same registration id) answers with the same user id, so clients may retry.
//! What must stay true: a registration that comes again, from its client or because a stream
//! processes at least once, never undoes an edit; an edit touches only a profile that is there.

use rama::helpers::UniqueIds;
use rama::prelude::*;
use uuid::Uuid;

/// Someone wants a username. `id` is made by the client, once per intent: retries repeat it.
#[rama::record]
pub struct Registration {
    /// Chosen by the client; makes the append idempotent.
    pub id: Uuid,
    /// The wanted name; nobody gets the empty one.
    pub username: String,
    /// Never the password itself.
    pub password_hash: String,
}

/// A change of some fields; absent fields stay as they are. The answer says whether there is such a
/// user.
#[rama::record]
#[derive(Default)]
pub struct Edit {
    /// Whose profile.
    pub user_id: u64,
    /// New display name.
    pub display_name: Option<String>,
    /// New height.
    pub height_cm: Option<u32>,
    /// New password hash.
    pub password_hash: Option<String>,
}

/// Who holds a username.
#[rama::record]
pub struct Holder {
    /// The holder's id.
    pub user_id: u64,
    /// The registration that won.
    pub registration_id: Uuid,
}

/// A profile; every field is optional until written.
#[derive(Schema)]
pub struct Profile {
    /// Unique name.
    pub username: String,
    /// What others see.
    pub display_name: String,
    /// Never the password itself.
    pub password_hash: String,
    /// Height in centimetres.
    pub height_cm: u32,
}

/// Registrations, partitioned by username.
pub const REGISTRATIONS: Depot<Registration> = Depot::named("*registrations");
/// Edits, partitioned by user.
pub const EDITS: Depot<Edit> = Depot::named("*edits");
/// Username to its holder.
pub const USERNAMES: PState<Map<String, Holder>> = PState::named("$$usernames");
/// User id to profile.
pub const PROFILES: PState<Map<u64, Profile>> = PState::named("$$profiles");
/// How many ids each task has given.
pub const NEXT_ID: PState<u64> = PState::named("$$next_id");

/// The module.
pub struct Profiles;

impl Module for Profiles {
    fn define(&self, m: &mut Setup) {
        m.depot_by(REGISTRATIONS, |r| &r.username);
        m.depot_by(EDITS, |e| &e.user_id);
        let mut s = m.stream("profiles");
        let (usernames, profiles) = (s.pstate(USERNAMES), s.pstate(PROFILES));
        let ids = UniqueIds::ascending(&mut s, NEXT_ID);
        s.source(REGISTRATIONS)
            .filter(|_, r| !r.username.is_empty())
            .filter_map(move |task, r| {
                let name = usernames.key(&r.username);
                let holder = name.get(task).unwrap_or_else(|| Holder {
                    user_id: ids.next(task),
                    registration_id: r.id,
                });
                name.set(task, holder.clone());
                (holder.registration_id == r.id).then_some((holder.user_id, r))
            })
            .hash_partition_by(|(user_id, _)| user_id)
            .each(move |task, (user_id, r)| {
                let profile = profiles.key(&user_id);
                if !profile.username().exists(task) {
                    profile.username().set(task, r.username);
                    profile.password_hash().set(task, r.password_hash);
                }
                task.ack_return(&user_id);
            });
        s.source(EDITS).each(move |task, edit| {
            let profile = profiles.key(&edit.user_id);
            let known = profile.username().exists(task);
            task.ack_return(&known);
            if !known {
                return;
            }
            if let Some(name) = edit.display_name {
                profile.display_name().set(task, name);
            }
            if let Some(height) = edit.height_cm {
                profile.height_cm().set(task, height);
            }
            if let Some(hash) = edit.password_hash {
                profile.password_hash().set(task, hash);
            }
        });
    }
}

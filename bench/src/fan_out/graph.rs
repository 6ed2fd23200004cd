//! Who follows whom, and who writes how much.
//!
//! Relies on a seed and nothing else. The most followed account has 22 % of all users behind it, as
//! in the network whose figures are public, and the account of rank r has C/r^1.1, cut off there,
//! where C makes the mean what is asked for. Followers are drawn uniformly. How much an account
//! writes is Zipf's over an order that has nothing to do with its followers. What must stay true:
//! the mean number of followers of a post, not only that of an account, is the mean asked for.

use fastrand::Rng;

use crate::ranks::Ranks;

/// The followers of the greatest account, as a share of all users.
pub const GREATEST: f64 = 0.22;
const EXPONENT: f64 = 1.1;
/// Of how much accounts write.
const ACTIVITY: f64 = 1.0;
/// How far the mean over posts may be from the one over accounts.
const TOLERANCE: f64 = 0.01;

/// Accounts 0 to `users`, the most followed first.
pub struct Graph {
    /// Where the followers of each account end in `followers`.
    ends: Vec<usize>,
    followers: Vec<u32>,
    activity: Ranks,
    /// Accounts, those that write most first.
    authors: Vec<u32>,
    mean: f64,
}

impl Graph {
    /// A graph of `users` accounts with `mean` followers each.
    ///
    /// # Panics
    /// When so few users cannot have so many followers on the average.
    pub fn build(users: u32, mean: f64, seed: u64) -> Graph {
        assert!(
            mean * 2.0 <= f64::from(users) * GREATEST,
            "{users} users are too few for {mean} followers each"
        );
        let mut rng = Rng::with_seed(seed);
        let degrees = degrees(users, mean);
        let (mut ends, mut followers) = (Vec::with_capacity(degrees.len()), Vec::new());
        // The account that last took each user, so that none takes one twice.
        let mut taken = vec![u32::MAX; users as usize];
        for (account, degree) in (0..users).zip(&degrees) {
            taken[account as usize] = account;
            for _ in 0..*degree {
                let mut user = rng.u32(..users);
                while taken[user as usize] == account {
                    user = rng.u32(..users);
                }
                taken[user as usize] = account;
                followers.push(user);
            }
            ends.push(followers.len());
        }
        let activity = Ranks::zipf(users as usize, ACTIVITY);
        let authors = authors(&degrees, &activity, &mut rng);
        let mean = followers.len() as f64 / f64::from(users);
        Graph {
            ends,
            followers,
            activity,
            authors,
            mean,
        }
    }

    /// How many accounts there are.
    pub fn users(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Those who follow an account.
    pub fn followers(&self, account: u32) -> &[u32] {
        let at = account as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.followers[begin..self.ends[at]]
    }

    /// The author of a post.
    pub fn author(&self, rng: &mut Rng) -> u32 {
        self.authors[self.activity.draw(rng)]
    }

    /// The author of a post who has no more followers than the mean.
    pub fn small_author(&self, rng: &mut Rng) -> u32 {
        loop {
            let author = self.author(rng);
            if self.followers(author).len() as f64 <= self.mean {
                return author;
            }
        }
    }
}

/// The number of followers of each rank.
fn degrees(users: u32, mean: f64) -> Vec<u32> {
    let greatest = (f64::from(users) * GREATEST).floor();
    let of = |rank: u32, c: f64| (c / f64::from(rank).powf(EXPONENT)).clamp(1.0, greatest);
    let total = |c: f64| (1..=users).map(|rank| of(rank, c)).sum::<f64>();
    let (mut low, mut high) = (1.0, f64::from(users).powi(3));
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        match total(middle) < mean * f64::from(users) {
            true => low = middle,
            false => high = middle,
        }
    }
    (1..=users)
        .map(|rank| of(rank, low).round() as u32)
        .collect()
}

/// An order of accounts by activity in which a post has as many followers as an account, on the
/// average: shuffled until it has, for the few most active ones weigh much.
fn authors(degrees: &[u32], activity: &Ranks, rng: &mut Rng) -> Vec<u32> {
    let wanted = degrees.iter().map(|d| f64::from(*d)).sum::<f64>() / degrees.len() as f64;
    let mut authors: Vec<u32> = (0..degrees.len() as u32).collect();
    loop {
        rng.shuffle(&mut authors);
        let weighed = authors
            .iter()
            .enumerate()
            .map(|(rank, author)| activity.share(rank) * f64::from(degrees[*author as usize]));
        if (weighed.sum::<f64>() / wanted - 1.0).abs() <= TOLERANCE {
            return authors;
        }
    }
}

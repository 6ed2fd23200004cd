//! What a process is, and sets of that.
//!
//! Relies on nothing. What must stay true: names and bits are in certificates and on the wire, so
//! neither is ever given to another role.

use std::fmt;
use std::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};

/// What a process is to its cluster.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
)]
#[repr(u8)]
pub enum Role {
    /// Runs operations on modules.
    Conductor = 0,
    /// Runs the workers of a node.
    Supervisor = 1,
    /// Runs task threads of a module.
    Worker = 2,
    /// Appends, reads, queries.
    Client = 3,
    /// Gives orders to the conductor.
    Operator = 4,
}

impl Role {
    /// All roles in order of declaration.
    pub const ALL: [Role; 5] = [
        Role::Conductor,
        Role::Supervisor,
        Role::Worker,
        Role::Client,
        Role::Operator,
    ];

    /// Its name in certificates and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Conductor => "conductor",
            Role::Supervisor => "supervisor",
            Role::Worker => "worker",
            Role::Client => "client",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| format!("{text} is no role; roles are {}", Roles::ALL))
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// No role.
    pub const NONE: Roles = Roles(0);
    /// Every role.
    pub const ALL: Roles = Roles(0b1_1111);

    /// These roles.
    pub const fn of(roles: &[Role]) -> Roles {
        let mut bits = 0;
        let mut at = 0;
        while at < roles.len() {
            bits |= 1 << roles[at] as u8;
            at += 1;
        }
        Roles(bits)
    }

    /// Whether `role` is one of them.
    pub fn contains(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The same with `role`.
    #[must_use]
    pub fn with(self, role: Role) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    /// In order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL
            .into_iter()
            .filter(move |role| self.contains(*role))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(", "))
    }
}

//! A module: what an author implements and an engine runs.
//!
//! Relies on `setup` for everything that is declared. What must stay true: `define` declares the
//! same things in the same order each time it is called, because every worker calls it for itself
//! and finds its stages by their place.

use crate::setup::Setup;

/// The unit of deployment: depots, PStates and topologies declared by one function (spec O-1).
///
/// Any subset is legal; even a module that declares nothing. Two values with the same name are two
/// versions of one module (spec O-2).
pub trait Module: Send + Sync + 'static {
    /// Declares the module's objects and the code between them.
    ///
    /// Runs at launch, in every worker, possibly more than once: it must declare the same each
    /// time, and do nothing else.
    fn define(&self, m: &mut Setup);

    /// The name under which the module is launched, addressed and updated. By default the last
    /// segment of the type's name.
    fn name(&self) -> String {
        short_name(std::any::type_name::<Self>()).to_owned()
    }
}

/// A module chosen at run time.
impl Module for Box<dyn Module> {
    fn define(&self, m: &mut Setup) {
        (**self).define(m);
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

/// `Bank` of `shop::Bank<shop::Euro>`.
fn short_name(type_name: &str) -> &str {
    let plain = type_name.split('<').next().unwrap_or(type_name);
    plain.rsplit("::").next().unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Empty;
    impl Module for Empty {
        fn define(&self, _: &mut Setup) {}
    }

    #[test]
    fn the_default_name_is_the_last_segment_of_the_type() {
        assert_eq!(Empty.name(), "Empty");
        let boxed: Box<dyn Module> = Box::new(Empty);
        assert_eq!(boxed.name(), "Empty");
        assert_eq!(short_name("shop::Bank<shop::money::Euro>"), "Bank");
    }
}

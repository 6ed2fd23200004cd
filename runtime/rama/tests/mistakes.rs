//! What the compiler tells an author who made a mistake. Each file in `mistakes/` is one; the text
//! beside it is what is said, and it names the fix.

#[test]
fn mistakes_are_told_with_their_fix() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}

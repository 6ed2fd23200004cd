//! Every rule of the programming model has a test that quotes it, or stands in `rules.toml`.

use rama_tests::rules::Rules;

#[test]
fn no_rule_has_lost_its_test() {
    let root = rama_tests::workspace();
    let rules = Rules::read(&root.join("tests/rules.toml")).expect("it can be read");
    let mistakes = rules
        .coverage(&root)
        .expect("the sources can be read")
        .mistakes;
    assert!(
        mistakes.is_empty(),
        "tests/rules.toml: {}",
        mistakes.join("; ")
    );
}

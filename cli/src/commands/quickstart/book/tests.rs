//! Texts become records without losing or cutting a word.

use super::*;

fn words(text: &str) -> Vec<String> {
    let words = text
        .split(|char: char| !char.is_alphabetic())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[test]
fn long_lines_are_split_between_words_only() {
    for text in [
        "",
        "a",
        "ab cd",
        "äöü, ßé – und—weiter",
        "onelongword",
        "  ",
        "x yyyyyyyyyy z",
        "日本 語a",
    ] {
        for max in 1..20 {
            let mut records = Vec::new();
            split(text, max, &mut records);
            assert_eq!(records.concat(), text, "max {max}");
            let separate: Vec<String> = records.iter().flat_map(|record| words(record)).collect();
            assert_eq!(separate, words(text), "max {max} of {text}");
        }
    }
}

#[test]
fn batches_hold_every_record_once_and_in_order() {
    let text = Text::new("t", &"some words\n\n".repeat(30_000));
    let joined: Vec<&String> = text.batches().flatten().collect();
    assert_eq!(joined, text.records.iter().collect::<Vec<_>>());
    assert!(text.batches().count() > 4);
    assert_eq!(Text::new("t", "").batches().count(), 0);
}

#[test]
fn the_bundled_book_is_real_text() {
    let book = Text::load(None).expect("bundled");
    assert!(book.bytes > 500_000);
    assert!(book.records.len() > 7000 && book.words > 190_000);
}

#[test]
fn a_file_that_is_not_text_is_refused_with_the_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x");
    std::fs::write(&path, b"ab\xff").expect("written");
    let failure = Text::load(Some(&path)).err().expect("not UTF-8");
    assert!(format!("{failure:?}").contains("byte 2"), "{failure:?}");
}

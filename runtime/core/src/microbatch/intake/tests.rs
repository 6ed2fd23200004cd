//! Sources of one depot, which are told of its ends one by one.

use std::time::Duration;

use super::*;
use crate::policy::FailurePolicy;

const ONE: SourceId = SourceId(1);
const OTHER: SourceId = SourceId(9);

fn twins() -> Intake {
    let source = |id, twin| Source {
        id,
        kind: SourceKind::Depot {
            partitions: 1,
            portion: Portion {
                max_records: 5,
                max_bytes: 1 << 20,
            },
        },
        policy: FailurePolicy::default(),
        twins: vec![twin],
    };
    Intake::new(vec![source(ONE, OTHER), source(OTHER, ONE)])
}

/// The ranges of the next plan.
fn planned(intake: &Intake, one: u64, other: u64) -> Vec<(SourceId, u64, u64)> {
    let progress = Progress::from([(ONE, vec![one]), (OTHER, vec![other])]);
    let now = Now::default().after(Duration::from_secs(1));
    let ranges = intake.plan(now, MicrobatchId(1), &progress).ranges;
    let range = |range: &SourceRange| (range.source, range.from, range.to);
    ranges.iter().map(range).collect()
}

/// S-24: what only one of two sources knows of is in no plan; where they are equally far they are taken
/// equally far, elsewhere each by itself.
#[test]
fn sources_of_one_depot_that_are_equally_far_stay_so() {
    let mut intake = twins();
    intake.on_depot_end((ONE, 0), 0..3, 0, 1);
    assert_eq!(planned(&intake, 0, 0), []);
    intake.on_depot_end((OTHER, 0), 0..2, 0, 1);
    assert_eq!(planned(&intake, 0, 0), [(ONE, 0, 2), (OTHER, 0, 2)]);
    assert_eq!(planned(&intake, 2, 2), [], "the third is one's alone");
    intake.on_depot_end((OTHER, 0), 0..20, 0, 1);
    intake.on_depot_end((ONE, 0), 0..20, 0, 1);
    assert_eq!(planned(&intake, 2, 2), [(ONE, 2, 7), (OTHER, 2, 7)]);
    assert_eq!(planned(&intake, 18, 2), [(ONE, 18, 20), (OTHER, 2, 7)]);
    intake.on_depot_end((ONE, 0), 6..20, 0, 1);
    assert_eq!(
        planned(&intake, 2, 2),
        [(ONE, 6, 11), (OTHER, 6, 11)],
        "trimmed"
    );
}

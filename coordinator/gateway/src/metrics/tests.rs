//! The text that scrapers read.

use super::*;
use rama_runtime::status::DepotStatus;

#[test]
fn the_text_is_one_openmetrics_document_with_both_halves() {
    let metrics = HttpMetrics::default();
    metrics.observe(Route::Append, StatusCode::OK, Duration::from_micros(90));
    let module = ModuleStatus {
        name: "Demo".into(),
        tasks: 4,
        depots: vec![DepotStatus {
            name: "*lines".into(),
            records: 5,
            partitions: vec![(1, 4), (0, 2)],
        }],
        topologies: vec![TopologyStatus {
            name: "count".into(),
            kind: "stream".into(),
            processed: 5,
            lag: 1,
            ..TopologyStatus::default()
        }],
        ..ModuleStatus::default()
    };
    let text = metrics.render(&Status {
        modules: vec![module],
        ..Status::default()
    });
    for line in [
        r#"rama_http_requests_total{route="append",status="200"} 1"#,
        r#"rama_http_request_seconds_count{route="append"} 1"#,
        r#"rama_depot_records{module="Demo",depot="*lines"} 5"#,
        r#"rama_depot_appended_records_total{module="Demo",depot="*lines"} 6"#,
        r#"rama_topology_lag_records{module="Demo",topology="count",kind="stream"} 1"#,
        r#"rama_module_tasks{module="Demo"} 4"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(text.matches("# EOF").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}

//! Query topologies: sums, limits, queries that ask queries, values kept meanwhile.

use rama::prelude::*;

type Row = (i64, i64, i64);

const PLUS: Query<(i64, i64), i64> = Query::named("plus");
const TRIPLE: Query<i64, i64> = Query::named("triple");
const TRIPLE_AND_ONE: Query<i64, i64> = Query::named("triple-and-one");
const SUM: Query<Vec<i64>, i64> = Query::named("sum");
const SOME: Query<Vec<Row>, (i64, i64)> = Query::named("some");
const BEST: Query<Vec<Row>, (Vec<(u64, i64)>, i64, i64)> = Query::named("best");
const KEEPS: Query<(i64, i64), i64> = Query::named("keeps");

/// query.SimpleQuery, ColocatedQueryTopologyInvoke and TemporaryQueryState, aggregators.QueryAggValue,
/// Limit and LimitWithOptions.
struct Queries;

impl Module for Queries {
    fn define(&self, m: &mut Setup) {
        m.query(PLUS, |q| {
            q.origin_partition().map(|_, (one, other)| one + other + 1)
        });
        m.query(TRIPLE, |q| q.origin_partition().map(|_, number| number * 3));
        m.query(TRIPLE_AND_ONE, |q| {
            let tripled = q.query(TRIPLE, |number| *number);
            tripled
                .map(|_, (_, tripled)| tripled + 1)
                .origin_partition()
        });
        m.query(SUM, |q| {
            let numbers = q.flat_map(|_, numbers| numbers).origin_partition();
            numbers.agg(|of| of.sum(|number| *number))
        });
        m.query(SOME, |q| {
            q.flat_map(|_, rows| rows)
                .global_partition()
                .agg(|of| of.limit(3))
                .flat_map(|_, rows| rows)
                .origin_partition()
                .agg(|of| (of.sum(|row| row.0), of.sum(|row| row.2)))
        });
        m.query(BEST, |q| {
            q.flat_map(|_, rows| rows)
                .global_partition()
                .agg(|of| of.top(3, |row| row.1))
                .flat_map(|_, rows| (0..).zip(rows).collect::<Vec<(u64, Row)>>())
                .origin_partition()
                .agg(|of| {
                    let order = of.list(|(index, row)| (*index, row.1));
                    (order, of.sum(|(_, row)| row.0), of.sum(|(_, row)| row.2))
                })
        });
        m.query(KEEPS, |q| {
            let kept = q.temporary::<i64>();
            q.hash_partition(|(key, _)| key)
                .inspect(move |task, (_, value)| kept.with(task, |kept| *kept = *value))
                .map(|_, (key, _)| key)
                .shuffle_partition()
                .hash_partition(|key| key)
                .map(move |task, key| key + kept.with(task, |kept| *kept))
                .origin_partition()
        });
    }
}

///
#[tokio::test]
async fn queries_answer_as_the_survey_says() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Queries).await.expect("launch");
    for (args, expected) in [((1, 2), 4), ((10, 7), 18)] {
        assert_eq!(
            cluster.query(PLUS).invoke(args).await.expect("plus"),
            expected
        );
    }
    for (number, expected) in [(1, 4), (10, 31)] {
        let answer = cluster.query(TRIPLE_AND_ONE).invoke(number).await;
        assert_eq!(answer.expect("triple"), expected);
    }
    for (numbers, expected) in [(vec![1, 2, 3], 6), (vec![10, 15, 20, 25], 70)] {
        assert_eq!(
            cluster.query(SUM).invoke(numbers).await.expect("sum"),
            expected
        );
    }
    let rows = vec![(1, 2, 3), (10, 11, 12), (6, 4, 5), (1000, 1000, 1000)];
    let answer = cluster.query(SOME).invoke(rows.clone()).await;
    assert_eq!(answer.expect("some"), (17, 20), "the first to come");
    let answer = cluster.query(BEST).invoke(rows).await.expect("best");
    assert_eq!(answer, (vec![(0, 1000), (1, 11), (2, 4)], 1016, 1017));
    for (args, expected) in [((2, 3), 5), ((2, 4), 6), ((3, 5), 8)] {
        assert_eq!(
            cluster.query(KEEPS).invoke(args).await.expect("keeps"),
            expected
        );
    }
}

//! `append`: durable appends, one at a time and many in flight, in small and large records.
//!
//! Relies on `AckLevel::AppendAck`: every answered append is flushed. The closed-loop lines give
//! throughput; the open-loop line, at half of it, gives the latency that counts.

use std::time::{Duration, Instant};

use rama::prelude::*;
use rama_gateway::config::Config;
use rama_gateway::gate::Door;
use rama_gateway::server::{Server, bind};

use crate::cluster::{self, Outcome, RECORDS, Records};
use crate::device::DeviceLimit;
use crate::environment::CpuMeter;
use crate::loopback::Loopback;
use crate::open_loop;
use crate::report::{Row, histogram};

/// Record size and appends in flight of each closed-loop line.
const LINES: &[(usize, usize)] = &[(100, 1), (100, 64), (100, 1024), (1024, 64), (1024, 1024)];

/// Measures appends on a fresh cluster under `dir`.
pub fn measure(dir: &std::path::Path, seconds: f64, limit: &DeviceLimit) -> Outcome<Vec<Row>> {
    let (server, _scratch) = cluster::start(dir, 2)?;
    let runtime = cluster::clients()?;
    runtime.block_on(async {
        server.launch(Records).await?;
        let depot = server.cluster().depot(RECORDS);
        let mut rows = vec![over_loopback(&server.cluster(), seconds, limit).await?];
        let mut saturated = 0.0;
        for &(bytes, in_flight) in LINES {
            let row = closed(&depot, bytes, in_flight, seconds, limit).await;
            if (bytes, in_flight) == (100, 64) {
                saturated = row.per_second;
            }
            rows.push(row);
        }
        rows.push(open(&depot, saturated / 2.0, seconds).await);
        rows.push(batched(&depot, seconds, limit).await?);
        server.shutdown().await?;
        Ok(rows)
    })
}

/// One HTTP client on one connection: the latency of a single durable append as a user sees it.
async fn over_loopback(cluster: &Cluster, seconds: f64, limit: &DeviceLimit) -> Outcome<Row> {
    let config = Config::default();
    let listener = bind(config.http.host, 0, 1).await?;
    let server = Server::start(listener, cluster.clone(), config.http.limits(), Door::Open)?;
    let address = server.address().to_string();
    let client = tokio::task::spawn_blocking(move || -> std::io::Result<_> {
        let mut connection = Loopback::connect(&address)?;
        let body = format!(
            "{{\"data\":\"{}\",\"ackLevel\":\"appendAck\"}}",
            ".".repeat(100)
        );
        let mut latencies = histogram();
        let meter = CpuMeter::start();
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < seconds {
            let sent = Instant::now();
            connection.post("/rest/Records/depot/texts/append", body.as_bytes())?;
            latencies.saturating_record(sent.elapsed().as_nanos() as u64);
        }
        Ok((latencies, meter.stop()))
    });
    let (latencies, cpu) = client.await??;
    server.stop().await;
    let row = Row::new(
        "append: 100 B, HTTP over loopback, 1 connection, flushed",
        latencies.len(),
        cpu,
    )
    .latency(&latencies);
    let p50 = row.latency.map_or(0.0, |l| l.p50_us);
    Ok(row.ratio(p50 / limit.durable_write.p50_us, "p50 of a durable write"))
}

fn request(
    depot: &DepotClient<Vec<u8>>,
    bytes: usize,
) -> impl Fn(u64) -> futures_util::future::BoxFuture<'static, bool> + Clone + Send + Sync + 'static
{
    let depot = depot.clone();
    move |number| {
        let mut record = vec![b'.'; bytes];
        record[..8].copy_from_slice(&number.to_le_bytes());
        let answer = depot.append_with(&record, AckLevel::AppendAck);
        Box::pin(async move { answer.await.is_ok() })
    }
}

async fn closed(
    depot: &DepotClient<Vec<u8>>,
    bytes: usize,
    in_flight: usize,
    seconds: f64,
    limit: &DeviceLimit,
) -> Row {
    let before = cluster::device_bytes_written();
    let meter = CpuMeter::start();
    let run = Duration::from_secs_f64(seconds);
    let outcome = open_loop::saturate(in_flight, run, request(depot, bytes)).await;
    let cpu = meter.stop();
    let written = cluster::device_bytes_written() - before;
    let payload = outcome.finished * bytes as u64;
    let name = format!("append: {bytes} B, {in_flight} in flight, flushed, closed loop");
    let row = Row::new(name, outcome.finished, cpu)
        .latency(&outcome.latencies)
        .payload(payload)
        .written(written, payload);
    if in_flight == 1 {
        let p50 = row.latency.map_or(0.0, |l| l.p50_us);
        return row.ratio(p50 / limit.durable_write.p50_us, "p50 of a durable write");
    }
    let share = payload as f64 / cpu.seconds / limit.write_bytes_per_second;
    row.ratio(share, "sequential bandwidth")
}

async fn open(depot: &DepotClient<Vec<u8>>, per_second: f64, seconds: f64) -> Row {
    let meter = CpuMeter::start();
    let run = Duration::from_secs_f64(seconds);
    let outcome = open_loop::run(per_second, run, request(depot, 100)).await;
    let name = format!("append: 100 B, open loop at {per_second:.0}/s, flushed");
    Row::new(name, outcome.finished, meter.stop()).latency(&outcome.latencies)
}

/// Batches of a thousand records per call, eight calls in flight.
async fn batched(depot: &DepotClient<Vec<u8>>, seconds: f64, limit: &DeviceLimit) -> Outcome<Row> {
    const BATCH: usize = 1000;
    const BYTES: usize = 1024;
    let records = vec![vec![b'.'; BYTES]; BATCH];
    let records = std::sync::Arc::new(records);
    let before = cluster::device_bytes_written();
    let meter = CpuMeter::start();
    let depot = depot.clone();
    let append = move |_| {
        let answer = depot.append_many(&records, AckLevel::AppendAck);
        async move { answer.await.is_ok() }
    };
    let outcome = open_loop::saturate(8, Duration::from_secs_f64(seconds), append).await;
    let cpu = meter.stop();
    let count = outcome.finished * BATCH as u64;
    let payload = count * BYTES as u64;
    let row = Row::new(
        "append: 1024 B, batches of 1000, 8 in flight, flushed",
        count,
        cpu,
    )
    .payload(payload)
    .written(cluster::device_bytes_written() - before, payload);
    let share = payload as f64 / cpu.seconds / limit.write_bytes_per_second;
    Ok(row.ratio(share, "sequential bandwidth"))
}

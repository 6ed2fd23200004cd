//! `rama quickstart`: a cluster, a book, exact counts.
//!
//! Relies on the module `word_count` and on nothing that a user's program could not do: it appends
//! lines to `*lines`, waits for the microbatch topology, and reads `$$exact_counts`. What must
//! stay true: the counts that are printed and written come from the PState, and their sum is
//! compared with the text before success is claimed.

mod book;
mod counts;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use rama_gateway::dev::{self, Hosting};
use rama_runtime::status::TopologyStatus;
use rama_runtime::{AckLevel, Cluster};
use serde::Serialize;
use word_count::{LINES, WordCount};

use crate::args::{Format, Quickstart};
use crate::commands::config;
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};
use crate::progress::Progress;

use book::Text;

const MODULE: &str = "WordCount";

/// Appends that are under way at once.
const IN_FLIGHT: usize = 8;

/// How long the counting may stand still before it is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Between two looks at the progress.
const LOOK: Duration = Duration::from_millis(20);

/// A word with its count.
#[derive(Serialize)]
struct Top {
    word: String,
    count: u64,
}

/// The result, as JSON shows it.
#[derive(Serialize)]
struct Report {
    source: String,
    bytes: u64,
    lines: u64,
    words: u64,
    distinct: usize,
    seconds: f64,
    words_per_second: f64,
    top: Vec<Top>,
    http: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
}

pub fn run(format: Format, args: &Quickstart) -> Result<()> {
    let text = Text::load(args.file.as_deref())?;
    let place = Place::new(args.data_dir.as_deref())?;
    let server = dev::Args {
        data_dir: Some(place.path().to_owned()),
        ..dev::Args::default()
    };
    let settings = server.settings().map_err(config::failure)?;
    rama_gateway::logging::start(&settings.log).map_err(config::failure)?;
    let runtime = dev::runtime(settings.http.threads).map_err(Failure::from_server)?;
    let report = runtime.block_on(async {
        let hosting = Hosting::start(settings, WordCount)
            .await
            .map_err(Failure::from_server)?;
        let report = count(&hosting, &text, args, &place).await;
        hosting.close().await.map_err(Failure::from_server)?;
        report
    })?;
    output::print(format, &report, || table(&report))
}

async fn count(hosting: &Hosting, text: &Text, args: &Quickstart, place: &Place) -> Result<Report> {
    eprintln!(
        "rama quickstart: {} → module {MODULE} at {}",
        text.name,
        hosting.url()
    );
    let cluster = hosting.cluster();
    let before = counts::all(cluster).await?;
    let from = exact(cluster)?.processed;
    let began = Instant::now();
    append(cluster, text).await?;
    wait(cluster, from, text.records.len() as u64).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = counts::all(cluster).await?;
    let counted = counts::sum(&after) - counts::sum(&before);
    if counted != text.words {
        let what = format!("counted {counted} words, but the text has {}", text.words);
        return Err(Failure::new(
            Exit::Failed,
            what,
            "this is a defect: please report it",
        ));
    }
    if let Some(path) = &args.counts {
        counts::write(&after, path)?;
    }
    Ok(Report {
        source: text.name.clone(),
        bytes: text.bytes,
        lines: text.records.len() as u64,
        words: text.words,
        distinct: after.len(),
        seconds,
        words_per_second: text.words as f64 / seconds,
        top: counts::top(&after, args.top),
        http: hosting.url().to_owned(),
        data_dir: place.kept(),
    })
}

/// Appends every record, several batches at a time.
async fn append(cluster: &Cluster, text: &Text) -> Result<()> {
    let progress = Progress::lines("append", text.records.len() as u64);
    let batches = stream::iter(text.batches()).map(|batch| {
        let depot = cluster.depot(LINES);
        async move {
            depot.append_many(batch, AckLevel::AppendAck).await?;
            Ok::<u64, rama_runtime::Error>(batch.len() as u64)
        }
    });
    let done = batches.buffered(IN_FLIGHT).try_fold(0, |done, count| {
        progress.set(done + count);
        std::future::ready(Ok(done + count))
    });
    done.await.map_err(engine)?;
    progress.end();
    Ok(())
}

/// Waits until the microbatch topology has made everything visible.
async fn wait(cluster: &Cluster, from: u64, lines: u64) -> Result<()> {
    let progress = Progress::lines("count", lines);
    let (mut last, mut moved) = (from, Instant::now());
    loop {
        let exact = exact(cluster)?;
        progress.set(exact.processed - from);
        if exact.processed >= from + lines {
            progress.end();
            return Ok(());
        }
        if exact.processed > last {
            (last, moved) = (exact.processed, Instant::now());
        }
        if moved.elapsed() > STALLED {
            let done = exact.processed - from;
            let why = exact
                .last_error
                .map_or(String::new(), |error| format!("; last: {error}"));
            let what = format!("counted {done} of {lines} lines, then nothing for a minute{why}");
            return Err(Failure::new(
                Exit::Unknown,
                what,
                "see `rama doctor` and try again",
            ));
        }
        // It answers as soon as all is done; a timeout only means to look again.
        let _ = cluster
            .wait_for_processed(MODULE, &exact.name, from + lines, LOOK)
            .await;
    }
}

/// The topology that counts exactly.
fn exact(cluster: &Cluster) -> Result<TopologyStatus> {
    let mut status = cluster.status();
    let module = status
        .modules
        .iter_mut()
        .find(|module| module.name == MODULE);
    let topologies = module.map(|module| std::mem::take(&mut module.topologies));
    let exact = topologies
        .unwrap_or_default()
        .into_iter()
        .find(|found| found.kind == "microbatch");
    exact.ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "WordCount has no microbatch topology",
            "please report this",
        )
    })
}

/// A failure of the engine as a failed command.
fn engine(error: rama_runtime::Error) -> Failure {
    Failure::from_problem(rama_gateway::refusal::Refusal::from(error).into())
}

fn table(report: &Report) -> String {
    let rows = report
        .top
        .iter()
        .map(|top| vec![top.word.clone(), top.count.to_string()]);
    let mut text = columns(&["WORD", "COUNT"], rows);
    let Report {
        words,
        lines,
        distinct,
        seconds,
        ..
    } = report;
    text.push_str(&format!(
        "\n\n{words} words in {lines} lines, {distinct} distinct, counted exactly once in \
         {seconds:.2} s: {:.0} words/s\nHTTP    {} (while it ran)",
        report.words_per_second, report.http
    ));
    let append = "append WordCount/lines '\"hello world\"'".to_owned();
    let (server, command) = match (&report.data_dir, report.top.first()) {
        (Some(dir), Some(Top { word, .. })) => (
            format!(" --data-dir {}", dir.display()),
            format!("select WordCount/exact_counts '[\"{word}\"]' --one"),
        ),
        (Some(dir), None) => (format!(" --data-dir {}", dir.display()), append),
        (None, _) => (String::new(), append),
    };
    text.push_str(&format!(
        "\nNext    rama dev --example word-count{server}\n        rama {command}"
    ));
    text
}

/// Where the data goes.
enum Place {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    fn new(kept: Option<&Path>) -> Result<Place> {
        if let Some(path) = kept {
            return Ok(Place::Kept(path.to_owned()));
        }
        // /tmp is often memory, which has no direct I/O; /var/tmp is a disk by convention.
        let parent = match std::env::var_os("TMPDIR") {
            Some(dir) => PathBuf::from(dir),
            None if Path::new("/var/tmp").is_dir() => PathBuf::from("/var/tmp"),
            None => std::env::temp_dir(),
        };
        let dir = tempfile::Builder::new()
            .prefix("rama-quickstart-")
            .tempdir_in(&parent);
        dir.map(Place::Temporary).map_err(|cause| {
            let what = format!(
                "could not make a directory in {}: {cause}",
                parent.display()
            );
            Failure::new(Exit::Failed, what, "name one with --data-dir")
        })
    }

    fn path(&self) -> &Path {
        match self {
            Place::Kept(path) => path,
            Place::Temporary(dir) => dir.path(),
        }
    }

    fn kept(&self) -> Option<PathBuf> {
        match self {
            Place::Kept(path) => Some(path.clone()),
            Place::Temporary(_) => None,
        }
    }
}

//! The same over plain TCP on tokio: a length before each message, nothing else.
//!
//! Relies on kernel buffers for flow control. The first byte says what the server does.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{Found, Outcome, Task};
use crate::report::histogram;

const ECHO: u8 = b'e';
const COUNT: u8 = b'c';
const BUFFER_BYTES: usize = 64 << 10;

pub(super) async fn serve(
    address: mpsc::Sender<SocketAddr>,
    mut stopped: oneshot::Receiver<()>,
) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    address.send(listener.local_addr()?)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that went away is the client's business.
                let _ = serve_stream(accepted?.0).await;
            }
            _ = &mut stopped => return Ok(()),
        }
    }
}

async fn serve_stream(stream: TcpStream) -> Outcome<()> {
    let (mut reader, mut writer) = halves(stream)?;
    let echo = reader.read_u8().await? == ECHO;
    let (mut message, mut count) = (Vec::new(), 0u64);
    while read(&mut reader, &mut message).await? {
        count += 1;
        if echo {
            write(&mut writer, &message).await?;
            writer.flush().await?;
        }
    }
    if !echo {
        write(&mut writer, &count.to_le_bytes()).await?;
    }
    writer.flush().await?;
    Ok(())
}

pub(super) async fn client(address: SocketAddr, task: Task) -> Outcome<Found> {
    let (reader, writer) = halves(TcpStream::connect(address).await?)?;
    match task {
        Task::Flood { bytes, duration } => flood(reader, writer, bytes, duration).await,
        Task::Ping {
            bytes,
            per_second,
            duration,
        } => {
            let total = (per_second * duration.as_secs_f64()) as u64;
            ping(reader, writer, bytes, per_second, total).await
        }
    }
}

async fn flood(
    mut reader: Reader,
    mut writer: Writer,
    bytes: usize,
    duration: Duration,
) -> Outcome<Found> {
    writer.write_u8(COUNT).await?;
    let message = vec![b'.'; bytes];
    let began = Instant::now();
    while began.elapsed() < duration {
        write(&mut writer, &message).await?;
    }
    writer.shutdown().await?;
    let mut count = Vec::new();
    if !read(&mut reader, &mut count).await? {
        return Err("no count came back".into());
    }
    let count = u64::from_le_bytes(count[..].try_into()?);
    Ok((count, histogram()))
}

async fn ping(
    mut reader: Reader,
    mut writer: Writer,
    bytes: usize,
    per_second: f64,
    total: u64,
) -> Outcome<Found> {
    writer.write_u8(ECHO).await?;
    let message = vec![b'.'; bytes];
    let start = Instant::now();
    let intended = |n: u64| start + Duration::from_secs_f64(n as f64 / per_second);
    let sending = async {
        for n in 0..total {
            while Instant::now() < intended(n) {
                tokio::task::yield_now().await;
            }
            write(&mut writer, &message).await?;
            writer.flush().await?;
        }
        Outcome::Ok(())
    };
    let mut took = histogram();
    let receiving = async {
        let mut answer = Vec::new();
        for n in 0..total {
            if !read(&mut reader, &mut answer).await? {
                return Err("an answer is missing".into());
            }
            took.saturating_record(intended(n).elapsed().as_nanos() as u64);
        }
        Outcome::Ok(())
    };
    tokio::try_join!(sending, receiving)?;
    writer.shutdown().await?;
    Ok((total, took))
}

type Reader = BufReader<OwnedReadHalf>;
type Writer = BufWriter<OwnedWriteHalf>;

fn halves(stream: TcpStream) -> Outcome<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    Ok((reader, BufWriter::with_capacity(BUFFER_BYTES, writer)))
}

async fn write(writer: &mut Writer, message: &[u8]) -> Outcome<()> {
    writer.write_u32_le(message.len() as u32).await?;
    writer.write_all(message).await?;
    Ok(())
}

/// Reads the next message; false at the end.
async fn read(reader: &mut Reader, message: &mut Vec<u8>) -> Outcome<bool> {
    let Ok(length) = reader.read_u32_le().await else {
        return Ok(false);
    };
    message.resize(length as usize, 0);
    reader.read_exact(message).await?;
    Ok(true)
}

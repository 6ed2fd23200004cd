//! One keep-alive HTTP/1.1 connection, as thin as a client can be.
//!
//! Relies on answers that carry a Content-Length, as the gateway's do. The harness must not spend
//! the time it measures: no pool, no parsing beyond the status and the length.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A connection to the gateway.
pub struct Loopback {
    stream: TcpStream,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Loopback {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Those of connecting.
    pub fn connect(address: &str) -> io::Result<Loopback> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Loopback {
            stream,
            buffer: Vec::new(),
            request: Vec::new(),
        })
    }

    /// Posts a JSON body and waits for the whole answer.
    ///
    /// # Errors
    /// I/O errors, and any status other than 200.
    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<()> {
        self.request.clear();
        write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request)?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> io::Result<()> {
        self.buffer.clear();
        let mut chunk = [0u8; 4096];
        loop {
            let read = self.stream.read(&mut chunk)?;
            if read == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            self.buffer.extend_from_slice(&chunk[..read]);
            let Some(head) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
            if !text.starts_with("http/1.1 200") {
                let line = text.lines().next().unwrap_or_default().to_string();
                return Err(io::Error::other(format!("the server answered {line}")));
            }
            let length = text
                .lines()
                .find_map(|line| {
                    line.strip_prefix("content-length:")?
                        .trim()
                        .parse::<usize>()
                        .ok()
                })
                .ok_or_else(|| io::Error::other("the answer has no Content-Length"))?;
            if self.buffer.len() >= head + 4 + length {
                return Ok(());
            }
        }
    }
}

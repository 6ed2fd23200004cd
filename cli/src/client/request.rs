//! What is asked and answered, whatever carries it.
//!
//! Relies on the types of HTTP messages. What must stay true: a trouble says whether the request
//! may have been carried out.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axum::http::request::Builder;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// Says which names of hosts are wanted, when not those for programs outside of the cluster.
pub const HOSTS: &str = "x-rama-hosts";

/// The value of [`HOSTS`].
pub const INTERNAL: &str = "internal";

/// Whether a request may leave something behind, which decides what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It changes something.
    Changes,
}

/// A request.
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub effect: Effect,
    pub content: Content<'a>,
    /// Names of hosts inside of the cluster are wanted.
    pub internal: bool,
}

/// What is sent with it.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// Nothing.
    Nothing,
    /// A document.
    Json(&'a Value),
    /// The bytes of a file.
    File(&'a Upload),
}

impl<'a> Request<'a> {
    /// A request without content.
    pub fn new(method: Method, path: &'a str, effect: Effect) -> Request<'a> {
        Request {
            method,
            path,
            effect,
            content: Content::Nothing,
            internal: false,
        }
    }

    /// The beginning of the message.
    pub fn head(&self, uri: &str) -> Builder {
        let head = axum::http::Request::builder().method(&self.method).uri(uri);
        match self.internal {
            true => head.header(HOSTS, INTERNAL),
            false => head,
        }
    }

    /// The same with content.
    pub fn with(self, content: Content<'a>) -> Request<'a> {
        Request { content, ..self }
    }
}

/// A file that is sent, and who is told how far it is.
#[derive(Clone)]
pub struct Upload {
    file: Arc<File>,
    bytes: u64,
    sent: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Upload {
    /// `sent` hears how many of the first `bytes` bytes were taken to be sent.
    pub fn new(file: File, bytes: u64, sent: impl Fn(u64) + Send + Sync + 'static) -> Upload {
        Upload {
            file: Arc::new(file),
            bytes,
            sent: Arc::new(sent),
        }
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its bytes from the first one on.
    pub fn reader(&self) -> UploadReader {
        UploadReader {
            upload: self.clone(),
            read: 0,
        }
    }
}

/// An upload in progress.
pub struct UploadReader {
    upload: Upload,
    read: u64,
}

impl Read for UploadReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What is appended meanwhile is no part of it.
        let left = usize::try_from(self.upload.bytes - self.read).unwrap_or(usize::MAX);
        let end = buffer.len().min(left);
        let read = self.upload.file.read_at(&mut buffer[..end], self.read)?;
        self.read += read as u64;
        (self.upload.sent)(self.read);
        Ok(read)
    }
}

/// An answer whose body is read as it comes.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Box<dyn Read>,
}

/// Why there is no answer.
pub enum Trouble {
    /// What was named is no address.
    Address(String),
    /// Nothing was sent.
    NotSent(String),
    /// It was sent, at least in part.
    Broken(String),
}

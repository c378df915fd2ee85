//! The admin API of a control server under test: JSON over HTTP over its Unix socket.
//!
//! It knows no resource; stories name paths and read values. Waiting for a state is asking again
//! with a deadline, and the last answer is in the error.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::{self, PATIENCE, Response};

/// How often a state is asked for while waiting for it.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A client of one admin socket.
#[derive(Clone, Debug)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// A client of the socket at this path; connects for each request.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Where the socket is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// GETs a path; an error unless it answers with 2xx and JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask("GET", path, None)
    }

    /// PUTs a value; the answer's JSON, or null if it has no body.
    pub fn put(&self, path: &str, value: &Value) -> Result<Value> {
        self.ask("PUT", path, Some(value))
    }

    /// POSTs a value; the answer's JSON, or null if it has no body.
    pub fn post(&self, path: &str, value: &Value) -> Result<Value> {
        self.ask("POST", path, Some(value))
    }

    /// Any request, any status: for stories about refusals.
    pub fn exchange(&self, method: &str, path: &str, value: Option<&Value>) -> Result<Response> {
        let stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot reach the admin socket {}", self.socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = value.map(Value::to_string);
        http::exchange(stream, method, path, body.as_deref()).with_context(|| format!("{method} {path}"))
    }

    /// GETs a path again and again until `wanted` finds what it looks for; an error with the last answer
    /// if it does not in time.
    pub fn until<T>(
        &self,
        path: &str,
        within: Duration,
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.get(path);
            if let Some(found) = answer.as_ref().ok().and_then(&mut wanted) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                bail!("GET {path} did not show what was waited for within {within:?}; at last: {answer:?}");
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn ask(&self, method: &str, path: &str, value: Option<&Value>) -> Result<Value> {
        let Response { status, body } = self.exchange(method, path, value)?;
        ensure!((200..300).contains(&status), "{method} {path} answered {status}: {}", body.trim());
        if body.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&body)
            .with_context(|| format!("{method} {path} answered no JSON: {}", body.trim()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use serde_json::json;

    use super::*;

    /// Answers one request after another with the given answers; returns the requests.
    fn serve(listener: UnixListener, answers: Vec<&'static str>) -> std::thread::JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let answer = |answer: &str| {
                let (mut stream, _) = listener.accept().expect("a client connects");
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).expect("the client sends a request");
                stream.write_all(answer.as_bytes()).expect("the client takes the answer");
                String::from_utf8_lossy(&request[..length]).into_owned()
            };
            answers.into_iter().map(answer).collect()
        })
    }

    fn socket(test: &str) -> (PathBuf, UnixListener) {
        let path = std::env::temp_dir().join(format!("weir-admin-{}-{test}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket can be made");
        (path, listener)
    }

    #[test]
    fn a_value_is_put_and_the_answer_read() {
        let (path, listener) = socket("put");
        let server = serve(listener, vec!["HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"stored\":1}"]);
        let answer = Admin::at(&path).put("/policies/1", &json!({"limit": 3}));
        std::fs::remove_file(&path).expect("the socket is there");
        let requests = server.join().expect("the server ends");
        assert!(requests[0].starts_with("PUT /policies/1 HTTP/1.1\r\n"), "{requests:?}");
        assert!(requests[0].ends_with("\r\n\r\n{\"limit\":3}"), "{requests:?}");
        assert_eq!(answer.expect("it was accepted"), json!({"stored": 1}));
    }

    #[test]
    fn a_refusal_is_an_error_that_shows_the_answer() {
        let (path, listener) = socket("refusal");
        let server = serve(listener, vec!["HTTP/1.1 422 Unprocessable\r\nContent-Length: 7\r\n\r\nno unit"]);
        let answer = Admin::at(&path).post("/policies", &json!({}));
        std::fs::remove_file(&path).expect("the socket is there");
        server.join().expect("the server ends");
        let error = format!("{:#}", answer.expect_err("it was refused"));
        assert!(error.contains("422") && error.contains("no unit"), "{error}");
    }

    #[test]
    fn a_state_is_asked_for_until_it_is_there() {
        let (path, listener) = socket("until");
        let server = serve(
            listener,
            vec![
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"up\":0}\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"up\":7}\n",
            ],
        );
        let found = Admin::at(&path)
            .until("/nodes", Duration::from_secs(5), |value| value["up"].as_u64().filter(|count| *count > 0));
        std::fs::remove_file(&path).expect("the socket is there");
        server.join().expect("the server ends");
        assert_eq!(found.expect("the third answer shows it"), 7);
    }
}

//! What a server's answer means: a result, a refusal, or no answer at all.

use std::io;

use serde_json::Value;

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another server, or the same one later, may answer.
    NoAnswer {
        source: io::Error,
        /// Whether a request may have come to a server, and may have had its effect.
        may_have_come: bool,
    },
    /// No server will answer otherwise.
    Refused {
        /// gRPC's, if what answered is an etcd server.
        code: Option<u64>,
        message: String,
        /// Whether a server was asked before, did not answer, and may have done as it was told.
        after_silence: bool,
    },
}

/// gRPC's codes for what can go away: cancelled, unknown, deadline exceeded, resource exhausted, aborted, internal,
/// unavailable.
const TEMPORARY: [u64; 7] = [1, 2, 4, 8, 10, 13, 14];
const INVALID_ARGUMENT: u64 = 3;
const NOT_FOUND: u64 = 5;
const FAILED_PRECONDITION: u64 = 9;
const UNAUTHENTICATED: u64 = 16;

/// What is no JSON is cut to so much, for the text of an error.
const EXCERPT: usize = 200;

impl Failure {
    /// Whether a new login may help. Some versions close the connection in place of an answer.
    pub(super) fn may_be_expired_login(&self) -> bool {
        match self {
            Failure::NoAnswer { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ),
            Failure::Refused { code: Some(UNAUTHENTICATED), .. } => true,
            Failure::Refused { code: Some(INVALID_ARGUMENT), message, .. } => {
                ["user name is empty", "invalid auth token", "auth store is old"]
                    .iter()
                    .any(|words| message.contains(words))
            }
            Failure::Refused { .. } => false,
        }
    }

    /// Whether the server may not like our certificate, or the gateway its own server's.
    #[cfg(feature = "etcd-tls")]
    pub(super) fn may_hide_refusal(&self) -> bool {
        matches!(self, Failure::NoAnswer { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::Other
        ))
    }

    pub(super) fn refused(code: Option<u64>, message: String) -> Failure {
        Failure::Refused { code, message, after_silence: false }
    }

    /// No answer. Some reasons show that no request was sent.
    pub(super) fn no_answer(source: io::Error) -> Failure {
        let may_have_come = !matches!(
            source.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::NotFound
        );
        Failure::NoAnswer { source, may_have_come }
    }

    pub(super) fn may_have_come(&self) -> bool {
        matches!(
            self,
            Failure::NoAnswer { may_have_come: true, .. }
                | Failure::Refused { after_silence: true, .. }
        )
    }

    /// Whether etcd itself said so, for which all of its servers are one.
    pub(super) fn is_verdict(&self) -> bool {
        matches!(self, Failure::Refused { code: Some(_), .. })
    }

    /// The failure of the second that was asked, where the first may have done as it was told and not said so.
    pub(super) fn after_silence(self) -> Failure {
        match self {
            Failure::Refused { code, message, .. } => {
                Failure::Refused { code, message, after_silence: true }
            }
            Failure::NoAnswer { source, .. } => Failure::NoAnswer { source, may_have_come: true },
        }
    }

    /// Whether a lease or key was not there; with it, whether it may have been there a moment ago.
    pub(super) fn not_found(&self) -> Option<bool> {
        match self {
            Failure::Refused { code: Some(NOT_FOUND), after_silence, .. } => Some(*after_silence),
            _ => None,
        }
    }

    /// What became of a put under a lease.
    pub(super) fn of_put(self) -> Failure {
        if self.not_found().is_some() { Failure::ran_out() } else { self }
    }

    /// The lease was over too early, as where the process was stopped: the next attempt has a new one.
    pub(super) fn ran_out() -> Failure {
        let text = "the lease ran out before the lock was taken";
        Failure::no_answer(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    /// Whether the lease that was to be granted is there already.
    pub(super) fn is_granted_already(&self) -> bool {
        self.is_precondition("lease already exists")
    }

    pub(super) fn is_auth_off(&self) -> bool {
        self.is_precondition("authentication is not enabled")
    }

    fn is_precondition(&self, words: &str) -> bool {
        matches!(self, Failure::Refused { code: Some(FAILED_PRECONDITION), message, .. } if message.contains(words))
    }

    pub(super) fn unexpected(answer: &Value) -> Failure {
        Failure::refused(None, format!("unexpected answer {}", excerpt(&answer.to_string())))
    }
}

/// The result in an answer. One line of a stream is an answer, too, with the result inside it.
pub(super) fn result_of(status: u16, text: &str) -> Result<Value, Failure> {
    let Ok(mut answer) = serde_json::from_str::<Value>(text) else {
        let message = format!("HTTP status {status}, {}", excerpt(text));
        // A proxy before the servers says so when it finds none of them.
        return Err(if (502..=504).contains(&status) {
            Failure::no_answer(io::Error::other(message))
        } else {
            Failure::refused(None, message)
        });
    };
    // The error of a stream is an object, any other's fields stand beside its text.
    let error = if answer["error"].is_object() { &answer["error"] } else { &answer };
    let code = error["code"].as_u64().or_else(|| error["grpc_code"].as_u64());
    if answer.get("error").is_none() && code.is_none() && status < 400 {
        return Ok(if answer["result"].is_object() { answer["result"].take() } else { answer });
    }
    let text = [&error["message"], &error["error"]].into_iter().find_map(Value::as_str);
    let message = text.map_or_else(|| excerpt(&answer.to_string()), str::to_owned);
    Err(match code {
        Some(code) if TEMPORARY.contains(&code) => Failure::no_answer(io::Error::other(message)),
        code => Failure::refused(code, message),
    })
}

/// What became of a request that has no answer.
pub(super) fn failure_of(error: ureq::Error) -> Failure {
    match error {
        // rustls wraps its own errors so, on the way through a socket.
        ureq::Error::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            Failure::no_answer(error)
        }
        ureq::Error::Timeout(_) => Failure::no_answer(io::ErrorKind::TimedOut.into()),
        ureq::Error::HostNotFound => {
            Failure::no_answer(io::Error::new(io::ErrorKind::NotFound, "host not found"))
        }
        ureq::Error::ConnectionFailed => Failure::no_answer(io::ErrorKind::NotConnected.into()),
        ureq::Error::Io(error) => Failure::refused(None, error.to_string()),
        error => Failure::refused(None, error.to_string()),
    }
}

fn excerpt(text: &str) -> String {
    let line = text.trim();
    match line.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

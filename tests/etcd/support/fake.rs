//! A server that gives one answer to all requests, for those that a real one can't be made to give.

use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::http::Message;

pub struct Fake {
    port: u16,
}

impl Fake {
    /// It lives as long as the test process.
    pub fn answering(status: u16, content_type: &str, body: &str) -> Fake {
        let answer = format!(
            "HTTP/1.1 {status} it\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer: Arc<str> = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(&client, &answer));
            }
        });
        Fake { port }
    }

    /// As etcd's gateway has it.
    pub fn refusing(status: u16, code: u32, text: &str) -> Fake {
        let body = format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#);
        Fake::answering(status, "application/json", &body)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn serve(mut client: &TcpStream, answer: &str) {
    let mut requests = BufReader::new(client.try_clone().unwrap());
    while let Ok(Some(_)) = Message::read(&mut requests) {
        if client.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

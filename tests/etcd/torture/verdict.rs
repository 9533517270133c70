//! What a fight has shown.

use std::collections::HashMap;
use std::fmt;

use crate::support::store::Write;

#[derive(Default)]
pub struct Verdict {
    pub kills: usize,
    pub stops: usize,
    pub aimed: usize,
    pub server_failures: usize,
    accepted: usize,
    owners: usize,
    late: usize,
    out_of_order: usize,
    shared_tokens: usize,
    reports: String,
}

impl Verdict {
    pub fn judge(&mut self, writes: &[Write], reports: &str) {
        let accepted: Vec<_> = writes.iter().filter(|write| write.is_accepted).collect();
        let mut users = HashMap::new();
        for write in writes {
            if *users.entry(write.token).or_insert(write.pid) != write.pid {
                self.shared_tokens += 1;
            }
        }
        self.accepted = accepted.len();
        self.owners = users.len();
        self.late = writes.len() - accepted.len();
        self.out_of_order =
            accepted.windows(2).filter(|pair| pair[0].token > pair[1].token).count();
        reports.clone_into(&mut self.reports);
    }

    pub fn assert_good(&self) {
        assert_eq!((self.out_of_order, self.shared_tokens), (0, 0));
        assert!(self.reports.is_empty(), "{}", self.reports);
        assert!(
            self.late >= self.aimed && self.aimed > 0,
            "a write that was late has been accepted"
        );
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ETCD TORTURE: {} owners, {} kills, {} stops, {} owners stopped before a write, {} servers failed; \
             writes accepted {}, late and refused {}, out of order {}; tokens of two processes {}; \
             guards that claimed what another had {}",
            self.owners,
            self.kills,
            self.stops,
            self.aimed,
            self.server_failures,
            self.accepted,
            self.late,
            self.out_of_order,
            self.shared_tokens,
            self.reports.lines().count(),
        )
    }
}

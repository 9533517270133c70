//! A policy in a configuration file.

use std::time::Duration;

use pidlockfile::retry::{Jitter, RetryPolicy};

fn read(text: &str) -> Result<RetryPolicy, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(text: &str, reason: &str) {
    let error = read(text).unwrap_err();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn an_empty_table_is_the_default() {
    assert_eq!(read("").unwrap(), RetryPolicy::default());
}

#[test]
fn a_field_that_is_missing_is_as_in_the_default() {
    let policy = RetryPolicy::builder().max_delay(Duration::from_secs(1)).build().unwrap();
    assert_eq!(read("max_delay = '1s'").unwrap(), policy);
}

#[test]
fn every_field_is_read() {
    let policy = RetryPolicy::builder()
        .initial_delay(Duration::from_millis(20))
        .multiplier(2.5)
        .max_delay(Duration::from_secs(90))
        .jitter(Jitter::Full)
        .max_attempts(7)
        .max_elapsed(Duration::from_secs(3600))
        .seed(42)
        .wake_on_release(false)
        .build()
        .unwrap();
    let text = "
        initial_delay = '20ms'
        multiplier = 2.5
        max_delay = '1m 30s'
        jitter = 'full'
        max_attempts = 7
        max_elapsed = '1h'
        seed = 42
        wake_on_release = false
    ";
    assert_eq!(read(text).unwrap(), policy);
}

#[test]
fn a_daemon_waits_forever() {
    let text = "max_delay = '1s'\nmax_elapsed = 'forever'";
    assert_eq!(read(text).unwrap(), RetryPolicy::daemon());
}

#[test]
fn every_jitter_is_read_by_its_name() {
    for (word, jitter) in [("none", Jitter::None), ("equal", Jitter::Equal), ("full", Jitter::Full)]
    {
        let policy = RetryPolicy::builder().jitter(jitter).build().unwrap();
        assert_eq!(read(&format!("jitter = '{word}'")).unwrap(), policy);
    }
    assert_refused("jitter = 'some'", "unknown variant `some`");
}

#[test]
fn an_unknown_field_is_refused() {
    assert_refused("max_dealy = '1s'", "unknown field `max_dealy`");
}

#[test]
fn the_rules_are_those_of_the_builder() {
    assert_refused("initial_delay = '0s'", "initial_delay is 0ns, and less than 1ms");
    assert_refused("initial_delay = '1s'", "max_delay is 250ms");
    assert_refused("multiplier = 0.5", "multiplier is 0.5");
    assert_refused("multiplier = nan", "multiplier is NaN");
    assert_refused("multiplier = inf", "multiplier is inf");
    assert_refused("max_attempts = 0", "max_attempts is zero");
}

#[test]
fn a_text_that_is_no_duration_is_refused() {
    assert_refused("max_delay = 'soon'", "\"soon\" is not a duration: ");
    assert_refused("max_elapsed = 'never'", "\"never\" is not a duration: ");
    assert_refused("max_delay = 1000", "invalid type: integer");
}

#[test]
fn a_policy_that_was_written_is_read_back() {
    for policy in [
        RetryPolicy::default(),
        RetryPolicy::daemon(),
        RetryPolicy::none(),
        RetryPolicy::fixed(Duration::from_nanos(1_000_000_001)),
        RetryPolicy::builder().seed(1).max_elapsed(Duration::ZERO).build().unwrap(),
    ] {
        let text = toml::to_string(&policy).unwrap();
        assert_eq!(read(&text).unwrap(), policy, "{text}");
    }
}

#[test]
fn a_preset_supplies_the_missing_fields() {
    assert_eq!(read("preset = 'daemon'").unwrap(), RetryPolicy::daemon());
    assert_eq!(read("preset = 'default'").unwrap(), RetryPolicy::default());
    let policy = RetryPolicy::daemon().to_builder().max_delay(Duration::from_secs(2));
    for text in ["preset = 'daemon'\nmax_delay = '2s'", "max_delay = '2s'\npreset = 'daemon'"] {
        assert_eq!(read(text).unwrap(), policy.clone().build().unwrap());
    }
    assert_refused("preset = 'deamon'", "unknown variant `deamon`");
}

#[test]
fn an_error_names_its_field() {
    for field in ["initial_delay", "max_delay", "max_elapsed"] {
        let text = format!("{field} = 'soon'");
        assert_refused(&text, &format!("{field}: \"soon\" is not a duration: "));
    }
    // Without TOML, whose errors quote the line.
    let value = toml::Table::from_iter([("max_delay".to_owned(), toml::Value::Integer(1000))]);
    let error = value.try_into::<RetryPolicy>().unwrap_err().to_string();
    assert!(error.contains("max_delay"), "{error}");
}

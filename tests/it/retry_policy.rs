//! The schedule of a policy, without any sleep: `delays` runs it on its own clock.

use std::time::Duration;

use pidlockfile::retry::{InvalidPolicy, Jitter, RetryPolicy, RetryPolicyBuilder};

const MS: Duration = Duration::from_millis(1);
const CAP: Duration = Duration::from_millis(250);

fn built(builder: RetryPolicyBuilder) -> RetryPolicy {
    builder.build().unwrap()
}

fn seeded(jitter: Jitter, seed: u64) -> RetryPolicy {
    built(RetryPolicy::builder().jitter(jitter).seed(seed).max_elapsed(None))
}

/// When the attempts are made, if they take no time.
fn attempts(policy: &RetryPolicy) -> Vec<Duration> {
    let mut now = Duration::ZERO;
    let mut times = vec![now];
    times.extend(policy.delays().map(|delay| {
        now += delay;
        now
    }));
    times
}

#[test]
fn delays_grow_by_half_from_10_ms_to_the_cap() {
    let policy = seeded(Jitter::None, 0);
    let micros =
        [10_000, 15_000, 22_500, 33_750, 50_625, 75_937, 113_906, 170_859, 250_000, 250_000];
    let delays = policy.delays().map(|delay| u64::try_from(delay.as_micros()).unwrap());
    assert!(delays.take(micros.len()).eq(micros));
}

#[test]
fn equal_jitter_keeps_between_half_the_delay_and_the_delay() {
    for seed in 0..1000 {
        let plain = seeded(Jitter::None, seed);
        let spread = seeded(Jitter::Equal, seed);
        for (plain, spread) in plain.delays().zip(spread.delays()).take(20) {
            assert!((plain / 2..=plain).contains(&spread), "seed {seed}: {spread:?} of {plain:?}");
        }
    }
}

#[test]
fn full_jitter_keeps_between_zero_and_the_delay() {
    for seed in 0..1000 {
        let plain = seeded(Jitter::None, seed);
        let spread = seeded(Jitter::Full, seed);
        for (plain, spread) in plain.delays().zip(spread.delays()).take(20) {
            assert!(spread <= plain, "seed {seed}: {spread:?} of {plain:?}");
        }
    }
}

#[test]
fn jitter_reaches_both_ends_of_its_range() {
    for (jitter, shortest) in [(Jitter::Equal, 125), (Jitter::Full, 0)] {
        let at_the_cap = seeded(jitter, 1).delays().skip(20).take(10_000).collect::<Vec<_>>();
        assert!(at_the_cap.iter().any(|&delay| delay < shortest * MS + 2 * MS));
        assert!(at_the_cap.iter().any(|&delay| delay + 2 * MS > CAP));
    }
}

#[test]
fn the_cap_is_hard() {
    for seed in 0..100 {
        for jitter in [Jitter::None, Jitter::Equal, Jitter::Full] {
            assert!(seeded(jitter, seed).delays().take(200).all(|delay| delay <= CAP));
        }
    }
    assert!(RetryPolicy::daemon().delays().take(10_000).all(|delay| delay <= 1000 * MS));
}

#[test]
fn a_seed_makes_runs_alike_and_no_seed_makes_them_differ() {
    let policy = seeded(Jitter::Equal, 7);
    assert!(policy.delays().take(50).eq(policy.delays().take(50)));
    assert!(!policy.delays().take(50).eq(seeded(Jitter::Equal, 8).delays().take(50)));
    let unseeded = RetryPolicy::daemon();
    assert!(!unseeded.delays().take(50).eq(unseeded.delays().take(50)));
}

#[test]
fn the_last_sleep_is_cut_at_the_deadline() {
    let policy = RetryPolicy::fixed(7000 * MS).with_max_elapsed(10_000 * MS);
    assert_eq!(attempts(&policy), [0, 7, 10].map(Duration::from_secs));
}

#[test]
fn a_deadline_that_is_a_multiple_of_the_delay_takes_no_extra_attempt() {
    let policy = RetryPolicy::fixed(5000 * MS).with_max_elapsed(10_000 * MS);
    assert_eq!(attempts(&policy), [0, 5, 10].map(Duration::from_secs));
}

#[test]
fn the_default_ends_after_exactly_10_s() {
    for _ in 0..100 {
        assert_eq!(attempts(&RetryPolicy::default()).last(), Some(&Duration::from_secs(10)));
    }
}

#[test]
fn a_deadline_of_zero_is_a_single_attempt() {
    assert_eq!(RetryPolicy::daemon().with_max_elapsed(Duration::ZERO).delays().next(), None);
}

#[test]
fn without_a_deadline_the_delays_never_end() {
    assert_eq!(
        RetryPolicy::default().with_max_elapsed(None).delays().take(100_000).count(),
        100_000
    );
    assert_eq!(RetryPolicy::daemon().delays().take(100_000).count(), 100_000);
}

#[test]
fn max_attempts_counts_the_first() {
    for limit in [1, 2, 10] {
        let policy = built(RetryPolicy::builder().max_attempts(limit));
        assert_eq!(attempts(&policy).len(), limit as usize);
    }
    assert_eq!(RetryPolicy::none().delays().next(), None);
}

#[test]
fn the_constructors_do_what_their_docs_say() {
    let default = built(
        RetryPolicy::builder()
            .initial_delay(10 * MS)
            .multiplier(1.5)
            .max_delay(250 * MS)
            .jitter(Jitter::Equal)
            .max_attempts(None)
            .max_elapsed(10_000 * MS)
            .seed(None),
    );
    assert_eq!(RetryPolicy::default(), default);
    let daemon = built(RetryPolicy::builder().max_delay(1000 * MS).max_elapsed(None));
    assert_eq!(RetryPolicy::daemon(), daemon);
    assert_eq!(RetryPolicy::none(), built(RetryPolicy::builder().max_attempts(1)));
    let fixed = RetryPolicy::builder().initial_delay(MS).max_delay(MS).multiplier(1.0);
    assert_eq!(RetryPolicy::fixed(MS), built(fixed.jitter(Jitter::None)));
    assert_eq!(RetryPolicy::fixed(Duration::ZERO), RetryPolicy::fixed(MS));
    assert_eq!(RetryPolicy::fixed(MS / 2), RetryPolicy::fixed(MS));
}

#[test]
fn huge_multipliers_and_delays_do_not_overflow() {
    let jitters = [Jitter::None, Jitter::Equal, Jitter::Full];
    for (multiplier, jitter) in
        [1.0, 1.5, 1e300, f64::MAX].into_iter().zip(jitters.into_iter().cycle())
    {
        for initial in [MS, 10 * MS, Duration::MAX] {
            let policy = built(
                RetryPolicy::builder()
                    .initial_delay(initial)
                    .multiplier(multiplier)
                    .max_delay(Duration::MAX)
                    .max_elapsed(None)
                    .jitter(jitter),
            );
            assert_eq!(policy.delays().take(2000).count(), 2000);
        }
    }
    let at_once = built(RetryPolicy::builder().multiplier(1e300).jitter(Jitter::None));
    assert!(at_once.delays().take(3).eq([10 * MS, CAP, CAP]));
    let forever = RetryPolicy::fixed(Duration::MAX).with_max_elapsed(Duration::MAX);
    assert!(forever.delays().eq([Duration::MAX]));
}

#[test]
fn an_invalid_field_is_refused_by_its_name() {
    let builder = RetryPolicy::builder;
    let delays = "and less than the initial_delay of";
    for (nonsense, text) in [
        (
            builder().initial_delay(Duration::from_nanos(999_999)),
            "initial_delay is 999.999µs, and less than 1ms".to_owned(),
        ),
        (builder().initial_delay(251 * MS), format!("max_delay is 250ms, {delays} 251ms")),
        (builder().max_delay(Duration::ZERO), format!("max_delay is 0ns, {delays} 10ms")),
        (
            builder().max_attempts(0),
            "max_attempts is zero, and it includes the first attempt".to_owned(),
        ),
    ] {
        assert_eq!(nonsense.build().unwrap_err().to_string(), text);
    }
    for multiplier in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.999, 0.0, -2.0] {
        let error = builder().multiplier(multiplier).build().unwrap_err();
        let text = format!("multiplier is {multiplier}, and not a finite number of at least 1");
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, InvalidPolicy::Multiplier(_)));
    }
}

#[test]
fn a_policy_can_change_one_field_of_another() {
    let policy = built(RetryPolicy::daemon().to_builder().max_delay(2000 * MS));
    let by_hand = built(RetryPolicy::builder().max_delay(2000 * MS).max_elapsed(None));
    assert_eq!(policy, by_hand);
}

//! The check `no-growth`: memory does not grow with the number of requests.
//!
//! Resident memory is noisy: allocators keep freed memory, give much of it back at once, and grow after
//! a large request. So the first fifth of the run is left out, and the check takes the median slope of
//! pairs of samples that are not far apart.

use super::{context::CheckContext, panics, verdict::Verdict};
use crate::sandbox::protocol::Observation;

/// The fewest requests that show a leak of 16 bytes a request among the noise.
const FEWEST_REQUESTS: usize = 50_000;
/// The growth for each request that counts as a leak. A leak of 16 bytes gives 16 or more, because
/// allocators round up; memory that has not settled yet gives less.
const MOST_BYTES_PER_REQUEST: f64 = 8.0;
/// The growth over the whole run that counts as a leak.
const LEAST_GROWTH_BYTES: f64 = 256.0 * 1024.0;

pub(super) fn check(context: &mut CheckContext<'_>) -> Verdict {
    let requests = context.settings.requests;
    let record = context.fuzz_record();
    let reached = panics::reached(record);
    let samples: Vec<_> = record.observations.iter().filter_map(sample).collect();
    if reached < requests {
        return Verdict::skipped(format!("only {reached} of {requests} requests returned"));
    }
    if requests < FEWEST_REQUESTS {
        return Verdict::skipped(format!(
            "{requests} requests are too few to tell a leak from noise\n\
             hint: --requests {FEWEST_REQUESTS} or more"
        ));
    }
    let warm: Vec<_> = samples.iter().filter(|(at, _)| *at >= requests as f64 / 5.0).collect();
    let Some(slope) = median_slope(&warm) else {
        return Verdict::skipped("this machine does not report the memory of a process");
    };
    let growth_bytes = slope * requests as f64 * 0.8;
    if slope >= MOST_BYTES_PER_REQUEST && growth_bytes >= LEAST_GROWTH_BYTES {
        return Verdict::failed(format!(
            "memory grows by {slope:.0} bytes with each request; less than \
             {MOST_BYTES_PER_REQUEST} would be noise"
        ));
    }
    Verdict::passed(format!("{requests} requests, less than {MOST_BYTES_PER_REQUEST} bytes each"))
}

fn sample(observation: &Observation) -> Option<(f64, f64)> {
    match observation {
        Observation::Memory { requests, anonymous_bytes } => {
            Some((*requests as f64, *anonymous_bytes as f64))
        }
        _ => None,
    }
}

/// Returns the Theil-Sen estimate of the slope, from pairs of samples that are not far apart: a single
/// step, up or down, lies between less than half of them.
fn median_slope(samples: &[&(f64, f64)]) -> Option<f64> {
    let near = samples.len() / 8..=samples.len() / 4;
    let pairs = samples.iter().enumerate().flat_map(|(at, one)| {
        let others = near.clone().filter_map(move |distance| samples.get(at + distance));
        others.map(move |other| (other.1 - one.1) / (other.0 - one.0))
    });
    let mut slopes: Vec<_> = pairs.filter(|slope| slope.is_finite()).collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_step_does_not_change_the_slope() {
        let steady: Vec<_> = (0..80).map(|at| (f64::from(at) * 1000.0, 1e6)).collect();
        assert_eq!(median_slope(&steady.iter().collect::<Vec<_>>()), Some(0.0));
        let leak: Vec<_> = steady.iter().map(|(at, bytes)| (*at, bytes + at * 16.0)).collect();
        assert_eq!(median_slope(&leak.iter().collect::<Vec<_>>()), Some(16.0));
        // An allocator gives memory back, or takes more for a large request.
        for (place, step) in [(20, -14e6), (40, -14e6), (40, 1e6), (60, 1e6)] {
            for (samples, slope) in [(&steady, 0.0), (&leak, 16.0)] {
                let mut samples = samples.clone();
                samples[place..].iter_mut().for_each(|(_, bytes)| *bytes += step);
                assert_eq!(median_slope(&samples.iter().collect::<Vec<_>>()), Some(slope));
            }
        }
        assert_eq!(median_slope(&[]), None);
    }
}

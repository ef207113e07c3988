//! Check `no-growth`: memory does not grow with the number of requests.
//!
//! Resident memory is noisy: allocators keep what was freed, give much of it back at once, and a
//! large request leaves its mark. So the first fifth is left out, and what counts is the slope on which
//! most pairs of samples agree that lie a tenth to a fifth of the run apart.

use super::{Verdict, examination::Examination, panics};
use crate::sandbox::Said;

/// Fewer could not show a leak of 16 bytes a request among the noise.
const FEWEST_REQUESTS: usize = 50_000;
/// A leak of 16 bytes gives 16 or more: allocators round up. What only settles gives less.
const MOST_BYTES_PER_REQUEST: f64 = 8.0;
/// And it has to come to something.
const LEAST_GROWTH_BYTES: f64 = 256.0 * 1024.0;

pub(super) fn check(examination: &mut Examination<'_>) -> Verdict {
    let requests = examination.settings.requests;
    let storm = examination.storm();
    let reached = panics::reached(storm);
    let samples: Vec<_> = storm.said.iter().filter_map(sample).collect();
    if reached < requests {
        return Verdict::skipped(format!("only {reached} of {requests} requests came back"));
    }
    if requests < FEWEST_REQUESTS {
        return Verdict::skipped(format!(
            "{requests} requests are too few to tell a leak from noise\n\
             hint: --requests {FEWEST_REQUESTS} or more"
        ));
    }
    let warm: Vec<_> = samples.iter().filter(|(at, _)| *at >= requests as f64 / 5.0).collect();
    let Some(slope) = median_slope(&warm) else {
        return Verdict::skipped("this machine does not say how much memory a process has");
    };
    let growth_bytes = slope * requests as f64 * 0.8;
    if slope >= MOST_BYTES_PER_REQUEST && growth_bytes >= LEAST_GROWTH_BYTES {
        return Verdict::failed(format!(
            "memory grows by {slope:.0} bytes with each request; {MOST_BYTES_PER_REQUEST} are put \
             down to noise"
        ));
    }
    Verdict::passed(format!("{requests} requests, less than {MOST_BYTES_PER_REQUEST} bytes each"))
}

fn sample(said: &Said) -> Option<(f64, f64)> {
    match said {
        Said::Memory { requests, anonymous_bytes } => {
            Some((*requests as f64, *anonymous_bytes as f64))
        }
        _ => None,
    }
}

/// Theil and Sen's estimate, of pairs that are not far apart: a single step, up or down, is between
/// less than half of them.
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
    fn the_slope_is_that_of_most_samples() {
        let steady: Vec<_> = (0..80).map(|at| (f64::from(at) * 1000.0, 1e6)).collect();
        assert_eq!(median_slope(&steady.iter().collect::<Vec<_>>()), Some(0.0));
        let leak: Vec<_> = steady.iter().map(|(at, bytes)| (*at, bytes + at * 16.0)).collect();
        assert_eq!(median_slope(&leak.iter().collect::<Vec<_>>()), Some(16.0));
        // An allocator gives back what it kept, or a large request leaves its mark.
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

//! The two text formats of metrics: `OpenMetrics`, and the older format of Prometheus.
//!
//! The registry writes `OpenMetrics`. [`TextFormat::write`] turns its lines into those of the older format.

/// Text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl TextFormat {
    /// Returns the format that suits an `Accept` header best. Without a preference, that is `OpenMetrics`.
    pub(crate) fn accepted(accept: &str) -> Self {
        let (open, older) = (weight(accept, is_open_metrics), weight(accept, is_older_text));
        if older > open { Self::Prometheus } else { Self::OpenMetrics }
    }

    /// Returns the content type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns metrics in this format.
    pub(super) fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Prometheus => older_text(&open_metrics),
        }
    }
}

/// A range of media types in an `Accept` header.
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range =
            Self { media_type: parts.next().unwrap_or_default(), version: None, weight: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("q") {
                range.weight = value.parse().unwrap_or(0.0);
            } else if name.trim().eq_ignore_ascii_case("version") {
                range.version = Some(value);
            }
        }
        range
    }

    fn is(&self, media_type: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type)
    }
}

/// Returns how specific a range is if it includes `OpenMetrics`.
fn is_open_metrics(range: &Range<'_>) -> Option<u8> {
    match range {
        Range { version: None | Some("1.0.0" | "0.0.1"), .. }
            if range.is("application/openmetrics-text") =>
        {
            Some(2)
        }
        _ if range.is("application/*") => Some(1),
        _ => range.is("*/*").then_some(0),
    }
}

/// Returns how specific a range is if it includes the older format.
fn is_older_text(range: &Range<'_>) -> Option<u8> {
    match range {
        Range { version: None | Some("0.0.4" | "1.0.0"), .. } if range.is("text/plain") => Some(2),
        _ if range.is("text/*") => Some(1),
        _ => range.is("*/*").then_some(0),
    }
}

/// Returns the weight of a format: that of the most specific range that includes it, and the largest if
/// there are several.
fn weight(accept: &str, includes: impl Fn(&Range<'_>) -> Option<u8>) -> f32 {
    let ranges = accept.split(',').map(Range::read);
    let found = ranges.filter_map(|range| Some((includes(&range)?, range.weight)));
    let best = found.max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    best.map_or(0.0, |(_, weight)| weight)
}

/// Turns `OpenMetrics` into the older format. There, a counter's name ends in `_total` in its description
/// as well, and there is no end mark.
fn older_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // The type is in the next line.
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "unknown"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_client_the_format_that_it_asks_for() {
        use TextFormat::{OpenMetrics, Prometheus};
        for (accept, format) in [
            ("", OpenMetrics),
            ("*/*", OpenMetrics),
            ("application/json", OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
            ("text/plain", Prometheus),
            ("text/plain;version=0.0.4", Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Prometheus),
            ("text/*", Prometheus),
            ("text/plain, application/openmetrics-text;q=0.9", Prometheus),
            ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OpenMetrics),
            ("application/openmetrics-text;version=9.0.0, text/plain", Prometheus),
            ("application/openmetrics-text;q=0, */*", Prometheus),
            ("text/plain;q=0, */*", OpenMetrics),
            ("text/plain;q=nonsense", OpenMetrics),
            (";;,,q=;=", OpenMetrics),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                 text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
        ] {
            assert_eq!(TextFormat::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_their_lines_do_and_has_no_end_mark() {
        let open_metrics = "# HELP a_requests Requests, by # and outcome.\n\
                            # TYPE a_requests counter\n\
                            a_requests_total{outcome=\"# a\"} 3\n\
                            # HELP a_seconds Time.\n\
                            # TYPE a_seconds histogram\n\
                            # UNIT a_seconds seconds\n\
                            a_seconds_sum 1.5\n\
                            a_seconds_count 1\n\
                            a_seconds_bucket{le=\"+Inf\"} 1\n\
                            # HELP a_open Open.\n\
                            # TYPE a_open gauge\n\
                            a_open 0\n\
                            # EOF\n";
        let older = "# HELP a_requests_total Requests, by # and outcome.\n\
                     # TYPE a_requests_total counter\n\
                     a_requests_total{outcome=\"# a\"} 3\n\
                     # HELP a_seconds Time.\n\
                     # TYPE a_seconds histogram\n\
                     a_seconds_sum 1.5\n\
                     a_seconds_count 1\n\
                     a_seconds_bucket{le=\"+Inf\"} 1\n\
                     # HELP a_open Open.\n\
                     # TYPE a_open gauge\n\
                     a_open 0\n";
        assert_eq!(TextFormat::Prometheus.write(open_metrics.into()), older);
        assert_eq!(TextFormat::OpenMetrics.write(open_metrics.into()), open_metrics);
    }
}

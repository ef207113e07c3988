//! The fields of a log line in both formats.

use tocsin_tests::Site;

#[test]
fn log_lines_name_their_event_in_both_formats() {
    for (format, event) in [("json", r#""event":"serving""#), ("text", r#" event="serving""#)] {
        let site = Site::on_sqlite();
        site.configure(&format!("[log]\nformat = '{format}'\n"));
        // The host registers its signal handlers before it opens the store, and obeys a signal once
        // it serves.
        let stopped = site.stop_when("the store is open", || site.path("tocsin.db").exists());
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        let lines = stopped.stderr.lines().filter(|line| line.contains(event)).count();
        assert_eq!(lines, 1, "{stopped:?}");
    }
}

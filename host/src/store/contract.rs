//! Promises that every store keeps, as tests that run against any of them.
//!
//! The promises know no store. `store_contract!` makes a test of each promise for the store that a
//! [`StoreFixture`](super::fixture::StoreFixture) opens.

pub(super) mod alerts;
pub(super) mod deliveries;
pub(super) mod feed;
pub(super) mod housekeeping;
pub(super) mod long_requests;
pub(super) mod requests;

pub(super) use super::model;

/// Makes one test of each promise. The argument is an expression for a fresh fixture.
macro_rules! store_contract {
    (@file $fixture:expr; $file:ident; $($promise:ident)+) => {$(
        #[test]
        fn $promise() {
            $crate::store::contract::$file::$promise(&$fixture);
        }
    )+};
    ($fixture:expr; $($file:ident { $($promise:ident,)+ })+) => {$(
        $crate::store::contract::store_contract! { @file $fixture; $file; $($promise)+ }
    )+};
    ($fixture:expr) => {
        $crate::store::contract::store_contract! {
            $fixture;
            alerts {
                committed_alerts_survive_a_restart,
                alert_numbers_have_no_gap,
                an_event_id_counts_once,
                a_dedup_key_has_one_alert_until_it_is_resolved,
                keys_belong_to_one_integration,
                events_acknowledge_and_resolve,
                people_acknowledge_and_resolve,
                people_add_notes,
                events_of_one_request_apply_in_their_order,
                racing_senders_open_one_alert,
                pages_lead_through_all_alerts_newest_first,
                repeated_reports_are_counted_and_their_differences_kept,
                histories_are_bounded,
                a_new_alert_links_to_the_resolved_one_of_its_problem,
                no_alert_opens_in_maintenance,
                a_clock_that_jumps_back_changes_no_order,
                a_closed_store_refuses_everything,
            }
            requests {
                every_request_leaves_a_record,
                records_are_found_by_outcome_integration_and_time,
                a_record_has_the_effect_of_each_event,
                failed_requests_wait_for_a_replay_and_the_oldest_are_evicted_first,
                the_sender_with_most_of_the_quarantine_loses_first,
                large_requests_are_evicted_before_small_ones,
                the_oldest_small_requests_stay,
                malformed_requests_have_a_share_of_their_own,
                a_replay_applies_its_events_once,
            }
            deliveries {
                a_delivery_is_claimed_once_and_ends,
            }
            housekeeping {
                silent_alerts_resolve_automatically,
                old_data_is_deleted_and_open_alerts_stay,
                large_requests_are_deleted_in_several_steps,
            }
            long_requests {
                many_events_are_committed_in_full_and_in_their_order,
                a_long_request_delays_no_other,
                submitted_events_are_committed_before_the_store_closes,
                many_events_are_replayed_once,
            }
            feed {
                every_change_is_in_the_feed_once_and_in_the_order_of_commits,
                a_merged_entry_is_in_the_feed_again_after_each_report,
                pages_of_the_feed_are_bounded_and_have_the_cursor_of_the_next_page,
                a_cursor_is_valid_after_a_restart,
                a_cursor_of_now_skips_earlier_changes,
                a_cursor_of_another_store_is_refused,
                deleted_alerts_leave_the_feed,
                a_reader_of_the_feed_sees_every_change_of_concurrent_writers,
                a_rehearsal_is_not_in_the_feed,
            }
            model {
                any_sequence_of_events_matches_the_model,
                racing_senders_match_the_model,
                senders_that_race_for_one_key_match_the_model,
            }
        }
    };
}

pub(super) use store_contract;

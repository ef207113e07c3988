//! Promises that every store keeps, as tests that run against any of them.
//!
//! The promises know no store. `store_contract!` makes a test of each promise for the store that a
//! [`StoreFixture`](super::fixture::StoreFixture) opens.

pub(super) mod alerts;
pub(super) mod audit;
pub(super) mod deliveries;
pub(super) mod duties;
pub(super) mod feed;
pub(super) mod hosts;
pub(super) mod housekeeping;
pub(super) mod long_requests;
pub(super) mod requests;
pub(super) mod silences;

pub(super) use super::{delivery_model, model};

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
                alerts_are_found_by_their_text_and_their_time,
                an_event_id_counts_once,
                a_dedup_key_has_one_alert_until_it_is_resolved,
                keys_belong_to_one_integration,
                events_acknowledge_and_resolve,
                people_acknowledge_and_resolve,
                people_add_notes,
                events_of_one_request_apply_in_their_order,
                racing_senders_open_one_alert,
                pages_lead_through_all_alerts_newest_first,
                unresolved_alerts_are_counted_in_steps,
                repeated_reports_are_counted_and_their_differences_kept,
                histories_are_bounded,
                a_new_alert_links_to_the_resolved_one_of_its_problem,
                no_alert_opens_in_maintenance,
                a_clock_that_jumps_back_changes_no_order,
                an_alert_keeps_the_most_hops_of_its_reports,
                a_closed_store_refuses_everything,
            }
            requests {
                every_request_leaves_a_record,
                records_are_found_by_outcome_integration_and_time,
                a_record_has_the_effect_of_each_event,
                pages_lead_through_records_of_every_kind_newest_first,
                a_request_that_opened_one_alert_is_replayed_as_any_other,
                failed_requests_wait_for_a_replay_and_the_oldest_are_evicted_first,
                the_sender_with_most_of_the_quarantine_loses_first,
                large_requests_are_evicted_before_small_ones,
                the_oldest_small_requests_stay,
                malformed_requests_have_a_share_of_their_own,
                a_replay_applies_its_events_once,
            }
            deliveries {
                a_delivery_is_claimed_once_and_ends,
                deliveries_survive_a_restart,
                news_about_an_alert_waits_for_earlier_news,
                destinations_do_not_wait_for_each_other,
                later_news_replaces_news_that_waits,
                later_news_replaces_an_attempt_that_was_not_sent,
                a_delivery_in_doubt_keeps_its_id_and_is_not_replaced,
                the_list_of_skipped_kinds_is_bounded,
                claims_take_the_oldest_first,
                deliveries_that_wait_too_long_are_brought_forward,
                a_parked_destination_claims_nothing,
                a_paused_destination_claims_nothing_until_its_time,
                a_pause_becomes_longer_and_ends_when_people_want_it,
                a_new_holder_leaves_no_pause_of_more_than_a_day,
                repeated_reports_leave_one_fact_for_each_destination,
                a_digest_replaces_many_new_alerts,
                no_digest_is_made_if_the_limit_is_zero,
                new_alerts_with_later_news_become_part_of_a_digest,
                further_news_about_an_alert_in_a_digest_is_a_fact,
                a_digest_on_its_way_counts_no_further_alerts,
                attempts_that_ran_when_the_host_died_are_in_doubt,
                deliveries_given_back_had_no_attempt,
                deliveries_of_a_lost_claim_are_given_back,
                people_retry_dead_and_waiting_deliveries,
                a_dead_delivery_that_is_retried_is_united_with_later_news,
                a_dead_delivery_in_doubt_is_not_united,
                a_retried_delivery_waits_while_later_news_is_on_its_way,
                a_retried_delivery_is_united_with_later_news_that_was_not_sent,
                united_deliveries_keep_all_their_attempts,
                a_doubt_remains_until_the_news_has_arrived,
                a_digest_lets_other_news_about_its_alerts_follow,
                a_digest_counts_an_alert_once,
                a_delivery_about_a_deleted_alert_can_be_retried,
                a_discarded_delivery_that_is_given_back_ended_when_it_was_discarded,
                people_discard_deliveries,
                a_discarded_digest_counts_no_more,
                the_newest_attempts_are_kept,
                a_notifier_keeps_a_value_about_each_alert,
                deliveries_are_found_by_status_destination_and_alert,
                the_state_of_every_destination_is_known,
                routing_is_recorded_with_its_cursor,
                alerts_are_outlined_by_their_numbers,
                old_deliveries_are_deleted_and_dead_ones_stay,
                deliveries_about_unresolved_alerts_are_kept,
                an_alert_is_deleted_with_its_deliveries_once_they_have_ended,
            }
            duties {
                a_host_alone_holds_every_duty_it_asks_for,
                a_released_duty_is_taken_in_a_new_term,
                a_host_that_closes_gives_up_its_duties,
                a_released_duty_goes_to_the_host_that_asks_next,
                a_duty_whose_holder_is_silent_goes_to_another_host,
                a_lease_that_nobody_else_took_keeps_its_term,
                what_a_former_holder_writes_is_refused,
                people_act_on_deliveries_of_another_holder,
                duties_are_shared_out_one_by_one,
            }
            hosts {
                a_host_is_listed_with_its_last_report,
                a_host_is_listed_with_its_duties,
                hosts_know_each_other_and_who_has_stopped,
            }
            silences {
                silences_hold_until_they_end,
                people_end_silences_early,
                a_timer_is_due_when_its_silence_has_ended_early,
                an_alert_has_one_timer_for_each_silence_and_destination,
                timers_are_due_once_and_oldest_first,
                old_silences_are_deleted,
            }
            audit {
                entries_of_the_audit_survive_a_restart_in_their_order,
                pages_lead_through_the_audit_newest_first,
                entries_are_found_by_actor_action_object_and_time,
                old_entries_are_deleted_and_their_numbers_are_not_given_again,
            }
            housekeeping {
                silent_alerts_resolve_automatically,
                old_data_is_deleted_and_open_alerts_stay,
                a_record_outlives_its_alert,
                an_alert_outlives_its_record,
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
                readers_are_told_when_alerts_change,
                a_cursor_of_another_store_is_refused,
                deleted_alerts_leave_the_feed,
                a_reader_of_the_feed_sees_every_change_of_concurrent_writers,
                a_rehearsal_is_not_in_the_feed,
            }
            delivery_model {
                any_sequence_of_deliveries_matches_the_model,
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
